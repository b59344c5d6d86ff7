//! No accepted key is without effect: each key of the schema names the test that shows what it does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use serde_json::Value;

use crate::{
    check::schema,
    harness::{files, root},
};

/// A key's path (`*` is a name of the operator's, `[]` an element) and the test that fails when it does nothing.
const SHOWN_BY: &[(&str, &str)] = &[
    ("include[]", "a_change_of_an_included_file_is_seen_and_so_is_a_new_one"),
    ("process.threads", "threads_are_as_many_as_written"),
    ("process.user", "the_process_becomes_the_user_that_is_written"),
    ("process.pid_file", "the_pid_file_names_the_process_and_goes_with_it"),
    ("process.state_dir", "a_made_key_outlives_the_process_and_is_nobody_elses"),
    ("process.max_connections", "beyond_the_most_connections_there_is_503_at_once"),
    ("process.shutdown_timeout", "a_drain_ends_after_the_shutdown_timeout"),
    ("admin.address", "an_admin_listener_for_others_needs_a_token"),
    ("admin.token", "the_admin_listener_asks_for_its_token"),
    ("telemetry.log.level", "the_log_is_text_or_json_of_the_level_that_is_written"),
    ("telemetry.log.format", "the_log_is_text_or_json_of_the_level_that_is_written"),
    ("telemetry.access_log.path", "standard_output_is_a_place_for_it"),
    ("telemetry.access_log.format", "a_template_is_filled_in"),
    ("listeners[].address", "a_listener_on_a_unix_socket_serves_and_leaves_nothing_behind"),
    ("listeners[].name", "a_route_may_belong_to_one_listener"),
    ("listeners[].trusted_proxies[]", "ip_hash_behind_a_trusted_proxy_goes_by_the_clients_address"),
    ("listeners[].proxy_protocol", "a_proxy_header_names_the_client_and_only_a_trusted_proxy_may_send_one"),
    ("listeners[].redirect_to_https", "everything_but_what_is_bound_there_is_sent_to_https"),
    ("listeners[].underscores", "a_header_with_an_underscore_is_dropped_refused_or_kept_as_written"),
    ("listeners[].http2", "http_2_by_prior_knowledge_is_spoken_only_where_the_file_says_so"),
    ("listeners[].limits.streams", "no_more_streams_are_open_at_a_time_than_may_be"),
    (
        "listeners[].tls.certificates[].certificate",
        "a_name_has_the_certificate_that_is_for_it_and_the_first_is_for_every_other",
    ),
    ("listeners[].tls.certificates[].key", "a_broken_file_keeps_the_certificate_that_was_and_says_so"),
    ("listeners[].tls.certificates[].min_version", "the_least_version_is_the_listeners_or_a_names_own"),
    ("listeners[].tls.certificates[].client_auth.ca", "who_has_to_show_a_certificate_does_by_name"),
    ("listeners[].tls.certificates[].client_auth.mode", "who_has_to_show_a_certificate_does_by_name"),
    ("listeners[].tls.certificates[].ocsp", "a_staple_is_sent_to_who_asks_for_it"),
    ("listeners[].tls.min_version", "the_least_version_is_the_listeners_or_a_names_own"),
    ("listeners[].tls.client_auth.ca", "a_listener_may_want_a_certificate_for_every_name"),
    ("listeners[].tls.client_auth.mode", "a_listener_may_want_a_certificate_for_every_name"),
    ("listeners[].limits.handshake_timeout", "a_handshake_has_its_time_in_all"),
    ("listeners[].limits.header_bytes", "a_head_beyond_the_limits_is_431"),
    ("listeners[].limits.target_bytes", "a_target_beyond_its_limit_is_414"),
    ("listeners[].limits.headers", "a_head_beyond_the_limits_is_431"),
    ("listeners[].limits.body", "a_body_beyond_the_limit_is_413_announced_or_not"),
    ("listeners[].limits.header_timeout", "a_head_that_trickles_is_408_in_all"),
    ("listeners[].limits.idle_timeout", "an_idle_connection_is_closed_silently"),
    ("listeners[].limits.body_timeout", "an_upload_that_stalls_is_408"),
    ("listeners[].limits.min_rate", "a_client_below_the_rate_is_ended_and_one_that_waits_is_not"),
    ("listeners[].limits.connections_per_ip", "one_client_address_holds_no_more_connections_than_it_may"),
    ("cookies.secrets[]", "the_first_secret_signs_and_all_verify"),
    ("stores.*.url", "a_store_is_spoken_to_in_tls_and_its_certificate_is_verified"),
    ("stores.*.ca", "a_store_is_spoken_to_in_tls_and_its_certificate_is_verified"),
    ("stores.*.user", "a_stores_credentials_are_told_nobody"),
    ("stores.*.password", "a_stores_credentials_are_told_nobody"),
    ("stores.*.cluster[]", "a_cluster_finds_each_session_also_when_its_slot_moves"),
    ("stores.*.sentinel.master", "sentinels_lead_to_the_new_master_under_load"),
    ("stores.*.sentinel.addresses[]", "sentinels_lead_to_the_new_master_under_load"),
    ("stores.*.sentinel.db", "sentinels_lead_to_the_new_master_under_load"),
    ("stores.*.sentinel.tls", "sentinels_lead_to_a_master_that_speaks_tls_only"),
    ("sessions.*.cookie", "a_required_session_lets_in_who_has_one_that_lives"),
    ("sessions.*.header", "a_plain_id_in_a_header_or_as_bearer_is_looked_up_under_its_key"),
    ("sessions.*.bearer", "a_plain_id_in_a_header_or_as_bearer_is_looked_up_under_its_key"),
    ("sessions.*.format", "a_plain_id_in_a_header_or_as_bearer_is_looked_up_under_its_key"),
    ("sessions.*.secrets[]", "every_one_of_the_secrets_verifies"),
    ("sessions.*.jwt.jwks", "a_token_is_verified_with_the_keys_of_a_file_that_is_watched"),
    ("sessions.*.jwt.secrets[]", "a_token_is_let_in_until_it_expires_or_its_id_is_revoked"),
    ("sessions.*.jwt.issuer", "a_token_is_let_in_until_it_expires_or_its_id_is_revoked"),
    ("sessions.*.jwt.audience", "a_token_is_let_in_until_it_expires_or_its_id_is_revoked"),
    ("sessions.*.jwt.revoked_key", "a_token_is_let_in_until_it_expires_or_its_id_is_revoked"),
    ("sessions.*.store.url", "a_store_is_spoken_to_in_tls_and_its_certificate_is_verified"),
    ("sessions.*.store.ca", "a_store_is_spoken_to_in_tls_and_its_certificate_is_verified"),
    ("sessions.*.store.user", "a_stores_credentials_are_told_nobody"),
    ("sessions.*.store.password", "a_stores_credentials_are_told_nobody"),
    ("sessions.*.store.cluster[]", "a_cluster_finds_each_session_also_when_its_slot_moves"),
    ("sessions.*.store.sentinel.master", "sentinels_lead_to_the_new_master_under_load"),
    ("sessions.*.store.sentinel.addresses[]", "sentinels_lead_to_the_new_master_under_load"),
    ("sessions.*.store.sentinel.db", "sentinels_lead_to_the_new_master_under_load"),
    ("sessions.*.store.sentinel.tls", "sentinels_lead_to_a_master_that_speaks_tls_only"),
    ("sessions.*.key", "a_plain_id_in_a_header_or_as_bearer_is_looked_up_under_its_key"),
    ("sessions.*.timeout", "a_store_that_accepts_and_says_nothing_or_nonsense_costs_at_most_the_budget"),
    ("sessions.*.cache", "with_no_cache_time_the_store_is_asked_for_every_request"),
    ("sessions.*.when_store_down", "a_frozen_redis_under_load_costs_503_where_it_is_denied_until_it_thaws"),
    ("upstreams.*.strategy", "round_robin_takes_exact_turns"),
    ("upstreams.*.strategy.consistent_hash.key", "consistent_hash_knows_every_kind_of_key"),
    ("upstreams.*.strategy.consistent_hash.load_bound", "a_hot_key_overflows_beyond_its_load_bound"),
    ("upstreams.*.endpoints[].address", "an_endpoint_on_a_unix_socket_answers"),
    ("upstreams.*.endpoints[].weight", "round_robin_follows_weights_exactly_and_without_bursts"),
    ("upstreams.*.endpoints[].max_connections", "first_fills_one_instance_after_the_other"),
    ("upstreams.*.endpoints[].backup", "a_backup_is_asked_only_when_no_other_is_left"),
    ("upstreams.*.endpoints[].host_header", "an_endpoint_may_have_a_host_header_of_its_own"),
    ("upstreams.*.health_check.http", "a_probe_takes_an_endpoint_out_and_brings_it_back"),
    ("upstreams.*.health_check.tcp", "a_tcp_probe_needs_only_a_connection"),
    ("upstreams.*.health_check.grpc", "a_grpc_probe_takes_a_server_out_that_does_not_serve_and_brings_it_back"),
    ("upstreams.*.health_check.interval", "the_interval_is_the_time_between_probes"),
    ("upstreams.*.health_check.timeout", "a_probe_that_gets_no_answer_ends_at_its_timeout"),
    ("upstreams.*.health_check.rise", "a_probe_takes_an_endpoint_out_and_brings_it_back"),
    ("upstreams.*.health_check.fall", "a_probe_takes_an_endpoint_out_and_brings_it_back"),
    ("upstreams.*.health_check.status", "a_probe_asks_the_port_with_the_host_and_takes_the_statuses_that_are_written"),
    ("upstreams.*.health_check.host", "a_probe_asks_the_port_with_the_host_and_takes_the_statuses_that_are_written"),
    ("upstreams.*.health_check.port", "a_probe_asks_the_port_with_the_host_and_takes_the_statuses_that_are_written"),
    ("upstreams.*.outlier.consecutive_errors", "an_endpoint_that_fails_in_a_row_is_ejected_and_comes_back_by_time"),
    ("upstreams.*.outlier.eject_for", "an_endpoint_that_fails_in_a_row_is_ejected_and_comes_back_by_time"),
    ("upstreams.*.outlier.max_ejected", "ejections_never_exceed_their_share"),
    ("upstreams.*.slow_start", "an_endpoint_that_comes_back_starts_slowly"),
    ("upstreams.*.queue.size", "a_queue_refuses_at_once_when_full_and_after_its_timeout_otherwise"),
    ("upstreams.*.queue.timeout", "a_queue_refuses_at_once_when_full_and_after_its_timeout_otherwise"),
    ("upstreams.*.retry.attempts", "a_route_may_retry_otherwise_than_its_upstream"),
    ("upstreams.*.retry.conditions[]", "conditions_say_which_answers_are_tried_again"),
    ("upstreams.*.retry.methods", "a_post_is_not_tried_again_unless_told"),
    ("upstreams.*.retry.budget", "the_budget_bounds_retries"),
    ("upstreams.*.timeouts.connect", "an_instance_that_does_not_accept_is_left_after_the_connect_timeout"),
    ("upstreams.*.timeouts.first_byte", "an_instance_that_accepts_and_never_answers_ends_in_504_after_first_byte"),
    ("upstreams.*.timeouts.idle", "a_body_that_stalls_on_its_way_down_is_cut"),
    ("upstreams.*.timeouts.upgrade_idle", "a_web_socket_outlives_the_idle_timeout_and_ends_at_its_own"),
    ("upstreams.*.timeouts.request", "the_total_time_of_a_request_is_bounded_when_asked_retries_included"),
    ("upstreams.*.panic_threshold", "with_all_instances_down_and_no_fail_open_the_answer_is_503_at_once"),
    ("upstreams.*.host_header", "the_host_is_kept_or_the_endpoints_or_a_literal"),
    ("upstreams.*.keepalive.idle", "no_connection_is_kept_when_none_may_be_idle"),
    ("upstreams.*.keepalive.timeout", "an_idle_connection_to_an_endpoint_is_closed_after_its_timeout"),
    ("upstreams.*.tls.server_name", "a_server_name_is_asked_for_instead_of_the_endpoints_own"),
    ("upstreams.*.tls.ca", "an_endpoint_that_is_not_who_it_should_be_is_502_and_the_log_says_why"),
    ("upstreams.*.tls.certificate", "an_endpoint_that_asks_for_a_certificate_gets_the_one_that_is_written"),
    ("upstreams.*.tls.key", "an_endpoint_that_asks_for_a_certificate_gets_the_one_that_is_written"),
    ("upstreams.*.tls.verify", "without_verification_everybody_is_trusted_and_that_is_said"),
    ("upstreams.*.http2", "an_endpoint_is_spoken_to_in_http2_in_plain_text_and_in_tls"),
    ("routes[].name", "a_routes_name_is_its_label"),
    ("routes[].listener", "a_route_may_belong_to_one_listener"),
    ("routes[].host", "the_most_specific_host_wins_whatever_its_case_port_and_trailing_dot"),
    ("routes[].path", "an_exact_path_wins_over_the_longest_prefix_and_that_over_a_regex"),
    ("routes[].path_prefix", "an_exact_path_wins_over_the_longest_prefix_and_that_over_a_regex"),
    ("routes[].path_regex", "an_exact_path_wins_over_the_longest_prefix_and_that_over_a_regex"),
    ("routes[].methods[]", "methods_headers_and_query_narrow_a_route"),
    ("routes[].headers.*", "methods_headers_and_query_narrow_a_route"),
    ("routes[].query.*", "methods_headers_and_query_narrow_a_route"),
    ("routes[].upstream", "two_routes_balance_one_upstream_differently"),
    ("routes[].upstreams[].name", "a_canary_gets_its_share"),
    ("routes[].upstreams[].weight", "a_canary_gets_its_share"),
    ("routes[].redirect.to", "a_redirect_knows_what_was_asked"),
    ("routes[].redirect.status", "a_redirect_knows_what_was_asked"),
    ("routes[].respond.status", "a_response_of_ours_keeps_the_connection"),
    ("routes[].respond.body", "a_response_of_ours_keeps_the_connection"),
    ("routes[].strategy", "two_routes_balance_one_upstream_differently"),
    ("routes[].strategy.consistent_hash.key", "a_hot_key_overflows_beyond_its_load_bound"),
    ("routes[].strategy.consistent_hash.load_bound", "a_hot_key_overflows_beyond_its_load_bound"),
    ("routes[].sticky.cookie", "a_pin_says_nothing_and_is_set_once"),
    ("routes[].sticky.cookie.name", "the_cookie_has_the_attributes_that_are_written"),
    ("routes[].sticky.cookie.path", "the_cookie_has_the_attributes_that_are_written"),
    ("routes[].sticky.cookie.domain", "the_cookie_has_the_attributes_that_are_written"),
    ("routes[].sticky.cookie.same_site", "the_cookie_has_the_attributes_that_are_written"),
    ("routes[].sticky.cookie.secure", "the_cookie_has_the_attributes_that_are_written"),
    ("routes[].sticky.cookie.max_age", "the_cookie_has_the_attributes_that_are_written"),
    ("routes[].sticky.session", "a_pin_ends_with_its_session_and_only_then"),
    ("routes[].sticky.max_age", "a_binding_lives_as_long_as_it_is_used"),
    ("routes[].sticky.when_down", "a_session_that_rather_fails_waits_for_its_instance"),
    ("routes[].session.source", "a_required_session_lets_in_who_has_one_that_lives"),
    ("routes[].session.require.field", "a_live_session_is_no_logged_in_user"),
    ("routes[].session.otherwise.redirect", "who_has_no_session_is_sent_to_the_login"),
    ("routes[].session.forward.*", "the_application_is_told_who_it_is_and_never_by_the_client"),
    ("routes[].retry.attempts", "a_route_may_retry_otherwise_than_its_upstream"),
    ("routes[].retry.conditions[]", "a_route_may_retry_otherwise_than_its_upstream"),
    ("routes[].retry.methods", "a_route_may_retry_otherwise_than_its_upstream"),
    ("routes[].retry.budget", "a_route_may_retry_otherwise_than_its_upstream"),
    ("routes[].timeouts.connect", "a_route_has_timeouts_of_its_own"),
    ("routes[].timeouts.first_byte", "a_route_has_timeouts_of_its_own"),
    ("routes[].timeouts.idle", "a_route_has_timeouts_of_its_own"),
    ("routes[].timeouts.upgrade_idle", "a_route_has_timeouts_of_its_own"),
    ("routes[].timeouts.request", "a_route_has_timeouts_of_its_own"),
    ("routes[].plugins[].request_id.header", "a_request_id_has_the_name_and_the_trust_that_are_written"),
    ("routes[].plugins[].request_id.trust", "a_request_id_has_the_name_and_the_trust_that_are_written"),
    ("routes[].plugins[].headers.request.set.*", "plugins_act_on_the_request_and_on_the_response"),
    ("routes[].plugins[].headers.request.add.*", "plugins_act_on_the_request_and_on_the_response"),
    ("routes[].plugins[].headers.request.remove[]", "plugins_act_on_the_request_and_on_the_response"),
    ("routes[].plugins[].headers.response.set.*", "plugins_act_on_the_request_and_on_the_response"),
    ("routes[].plugins[].headers.response.add.*", "plugins_act_on_the_request_and_on_the_response"),
    ("routes[].plugins[].headers.response.remove[]", "plugins_act_on_the_request_and_on_the_response"),
];

/// All paths below `at`; a path that leads no further is a leaf.
fn walk(root: &Value, node: &Value, at: &str, depth: usize, found: &mut BTreeSet<String>) {
    assert!(depth < 40, "the schema goes round in circles at {at}");
    let mut into = |node: &Value, at: &str| walk(root, node, at, depth + 1, found);
    if let Some(pointer) = node["$ref"].as_str() {
        into(root.pointer(pointer.trim_start_matches('#')).unwrap(), at);
    }
    for choice in ["anyOf", "oneOf", "allOf"] {
        for node in node[choice].as_array().into_iter().flatten() {
            into(node, at);
        }
    }
    let below = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
    for (key, node) in node["properties"].as_object().into_iter().flatten() {
        into(node, &below(key));
    }
    if node["additionalProperties"].is_object() {
        into(&node["additionalProperties"], &below("*"));
    }
    if node["items"].is_object() {
        into(&node["items"], &format!("{at}[]"));
    }
    found.insert(at.to_owned());
}

/// The paths that lead no further. `host: [a, b]` and `host: a` are one key.
fn leaves(found: &BTreeSet<String>) -> BTreeSet<String> {
    let further = |path: &str| {
        let below = |other: &String| other.strip_prefix(path).is_some_and(|rest| rest.starts_with(['.', '[']));
        found.iter().any(below)
    };
    found.iter().filter(|path| !path.is_empty() && !further(path)).cloned().collect()
}

#[test]
fn every_key_of_the_schema_has_a_test_that_shows_its_effect() {
    let schema = schema();
    let mut found = BTreeSet::new();
    walk(&schema, &schema, "", 0, &mut found);
    let table: BTreeMap<_, _> = SHOWN_BY.iter().copied().collect();
    let shown = |path: &str| table.contains_key(path) || table.contains_key(path.trim_end_matches("[]"));
    let missing: Vec<_> = leaves(&found).into_iter().filter(|path| !shown(path)).collect();
    assert!(missing.is_empty(), "no test shows the effect of {missing:#?}");
    let gone: Vec<_> = table.keys().filter(|path| !found.contains(**path)).collect();
    assert!(gone.is_empty(), "the schema has no {gone:#?}");
}

#[test]
fn every_test_that_is_named_exists() {
    let sources = files(&root().join("tests/it"), "rs");
    let text: String = sources.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let absent: Vec<_> = SHOWN_BY.iter().filter(|(_, test)| !text.contains(&format!("#[test]\nfn {test}()"))).collect();
    assert!(absent.is_empty(), "{absent:#?}");
}
