"""Adds headgate to a side-by-side benchmark: `bench.py --plugin script/bench_headgate.py` (see `script/test --bench`)."""
# ruff: noqa: F821  (System, register, .. are the benchmark's own)
import json
import signal


class Headgate(System):
    reloads = True

    def write(self, spec, exe):
        listeners = [{"address": f"127.0.0.1:{spec.http}"}]
        if spec.tls:
            certificate = {"certificate": str(spec.cert), "key": str(spec.key)}
            listeners.append({"address": f"127.0.0.1:{spec.https}", "tls": {"certificates": [certificate]}})
        for listener in listeners:
            listener["limits"] = {"idle_timeout": "1h"}
        config = {
            "process": {"threads": 1},
            "admin": {"address": f"127.0.0.1:{spec.admin}"},
            "telemetry": {"log": {"level": "error"}},
            "listeners": listeners,
            "upstreams": {"pool": {"endpoints": spec.backends, "keepalive": {"idle": 512, "timeout": "1h"}}},
            "routes": [{"path_prefix": p, "upstream": "pool"} for p in spec.prefixes]
            or [{"host": h, "upstream": "pool"} for h in spec.hosts]
            or [{"upstream": "pool"}],
        }
        if spec.access_log:
            config["telemetry"]["access_log"] = {"path": f"{spec.dir}/access.log", "format": "combined"}
        # JSON is YAML.
        return [exe, "run", "-c", str(spec.put("gateway.yaml", json.dumps(config)))]

    def reload(self, spec, exe, proc):
        os.kill(proc.pid, signal.SIGHUP)


register(Headgate("headgate"))
