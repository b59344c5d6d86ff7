//! Hashes that place a request. They hold across restarts and gateways, so they have no seed.
//!
//! Clients choose their keys, and whoever knows the endpoints' names can find keys that meet on one of them. That costs
//! the others nothing, and `consistent_hash` bounds the load of the one; a secret seed would cost the placement its
//! agreement between gateways.

use std::net::IpAddr;

/// The hash of a key: FNV-1a, which is quick on keys as short as these, with a finish that makes every bit of the key
/// count for every bit of the hash.
pub fn hash_key(bytes: &[u8]) -> u64 {
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)))
}

/// The hash of a client's full address. An IPv4 address that came over an IPv6 socket is that IPv4 address.
pub fn hash_address(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => hash_key(&address.octets()),
        IpAddr::V6(address) => hash_key(&address.octets()),
    }
}

/// The hash of two hashes.
pub(super) fn join(a: u64, b: u64) -> u64 {
    mix(a ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// A bijection in which every bit in changes half of the bits out (SplitMix64's finish).
pub(super) fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
