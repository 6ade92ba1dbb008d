"""Ray on this machine, with what `serve run ARGUMENTS` starts in it: `ray_cluster.py PORT ARGUMENTS`, until it is interrupted.

Ray leaves threads and open files in the process that starts it; hence a separate one.
"""

import sys
import tempfile

import ray
from ray import serve
from ray.serve.scripts import cli

if __name__ == "__main__":
    # Ray's sockets lie in it, and their paths must be short.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:
        ray.init(num_cpus=2, include_dashboard=False, object_store_memory=2**27, log_to_driver=False, _temp_dir=folder)
        serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
        try:
            cli.main(["run", *sys.argv[2:]])
        finally:
            ray.shutdown()
