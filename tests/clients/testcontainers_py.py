"""Testcontainers against the engine of DOCKER_HOST, which has the image `busybox`."""

import os
import tempfile
import unittest
import urllib.request

os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"

from testcontainers.core.container import DockerContainer
from testcontainers.core.image import DockerImage
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

IMAGE = "busybox"


class Testcontainers(unittest.TestCase):
    def test_a_service_with_a_port(self):
        service = DockerContainer(IMAGE).with_command('sh -c "echo ready; exec httpd -f -p 80 -h /etc"')
        ready = LogMessageWaitStrategy("ready").with_startup_timeout(20)
        with service.with_exposed_ports(80).waiting_for(ready) as running:
            address = f"{running.get_container_host_ip()}:{running.get_exposed_port(80)}"
            page = urllib.request.urlopen(f"http://{address}/hostname", timeout=10).read()
            self.assertEqual(running.exec("hostname").output, page)

    def test_containers_of_one_network(self):
        with Network() as network:
            web = DockerContainer(IMAGE).with_command("httpd -f -p 80 -h /etc")
            with web.with_network(network).with_network_aliases("web"):
                with DockerContainer(IMAGE).with_command("sleep 1000").with_network(network) as client:
                    result = client.exec("wget -qO- http://web/hostname")
                    self.assertEqual(result.exit_code, 0, result.output)

    def test_an_image_of_a_dockerfile(self):
        with tempfile.TemporaryDirectory() as context:
            with open(os.path.join(context, "Dockerfile"), "w") as file:
                file.write(f'FROM {IMAGE}\nCMD ["echo", "built"]\n')
            with DockerImage(path=context) as image:
                built = LogMessageWaitStrategy("built").with_startup_timeout(20)
                with DockerContainer(str(image)).waiting_for(built):
                    pass


if __name__ == "__main__":
    unittest.main(verbosity=1)
