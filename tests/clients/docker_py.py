"""The engine through docker-py. DOCKER_HOST says which; it has the image `busybox`."""

import io
import os
import tarfile
import tempfile
import threading
import time
import unittest
import uuid

import docker
from docker.errors import APIError, BuildError, ContainerError, ImageNotFound, NotFound

IMAGE = "busybox"


def name():
    return f"client-{uuid.uuid4().hex[:12]}"


def archive(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, text in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


class Case(unittest.TestCase):
    def setUp(self):
        self.client = docker.from_env()
        self.addCleanup(self.client.close)

    def container(self, command, **options):
        made = self.client.containers.create(IMAGE, command, **options)
        self.addCleanup(self.remove, made)
        return made

    def started(self, command, **options):
        made = self.container(command, **options)
        made.start()
        return made

    @staticmethod
    def remove(made):
        try:
            made.remove(force=True, v=True)
        except NotFound:
            pass

    def network(self, **options):
        made = self.client.networks.create(name(), **options)
        self.addCleanup(made.remove)
        return made


class Containers(Case):
    def test_run(self):
        self.assertEqual(self.client.containers.run(IMAGE, "echo hello", remove=True), b"hello\n")
        with self.assertRaises(ContainerError) as failed:
            self.client.containers.run(IMAGE, ["sh", "-c", "echo why >&2; exit 3"], remove=True)
        self.assertEqual(failed.exception.exit_status, 3)
        self.assertEqual(failed.exception.stderr, b"why\n")

    def test_a_user_by_number_reaches_the_root(self):
        self.assertEqual(self.client.containers.run(IMAGE, "id -u", user=1000, remove=True), b"1000\n")

    def test_environment_without_a_value_is_shown(self):
        made = self.container("env", environment={"A": "b", "Open": None})
        self.assertIn("Open", made.attrs["Config"]["Env"])
        made.start()
        made.wait()
        self.assertNotIn(b"Open", made.logs())

    def test_wait_ends_with_a_run_that_is_repeated(self):
        made = self.started(["sh", "-c", "exit 7"], restart_policy={"Name": "always"})
        self.assertEqual(made.wait(timeout=20)["StatusCode"], 7)
        with self.assertRaises(APIError) as refused:
            made.remove()
        self.assertIn("stop the container before", str(refused.exception).lower())

    def test_logs(self):
        made = self.started(["sh", "-c", "for i in 1 2 3; do echo $i; done; echo bad >&2"])
        made.wait()
        self.assertEqual(made.logs(stderr=False), b"1\n2\n3\n")
        self.assertEqual(made.logs(stdout=False), b"bad\n")
        self.assertEqual(made.logs(tail=2).count(b"\n"), 2)
        self.assertEqual(b"".join(made.logs(stream=True, follow=True, stderr=False)), b"1\n2\n3\n")

    def test_attach_shows_what_was_written(self):
        made = self.started("echo hello")
        made.wait()
        self.assertIn(made.attach(stream=False, logs=True), (b"hello\n", b""))

    def test_update(self):
        made = self.started("top", mem_limit="64m", memswap_limit="128m")
        made.update(mem_limit=96 << 20, cpu_shares=3, restart_policy={"Name": "on-failure", "MaximumRetryCount": 4})
        made.reload()
        host = made.attrs["HostConfig"]
        self.assertEqual((host["Memory"], host["CpuShares"]), (96 << 20, 3))
        self.assertEqual(host["RestartPolicy"], {"Name": "on-failure", "MaximumRetryCount": 4})
        with self.assertRaises(APIError) as refused:
            made.update(mem_limit=512 << 20)
        self.assertIn("memoryswap", str(refused.exception))

    def test_life(self):
        made = self.started("sleep 1000", name=name(), labels={"zone": "b"})
        made.pause()
        made.reload()
        self.assertEqual(made.status, "paused")
        made.unpause()
        made.rename(name())
        made.restart(timeout=0)
        self.assertTrue(any("sleep" in " ".join(row) for row in made.top(ps_args="aux")["Processes"]))
        # Docker reads no memory on a host with cgroups of both versions.
        if "WHARF_CLIENTS_HOST" not in os.environ:
            self.assertGreater(made.stats(stream=False)["memory_stats"]["usage"], 0)
        self.assertEqual([c.id for c in self.client.containers.list(filters={"label": "zone=b"})], [made.id])
        made.kill()
        self.assertEqual(made.wait()["StatusCode"], 137)

    def test_files_of_volumes_of_a_stopped_container(self):
        made = self.container("true", volumes={name(): {"bind": "/data"}})
        self.assertTrue(made.put_archive("/data", archive({"x.txt": "hello"})))
        pieces, stat = made.get_archive("/data/x.txt")
        self.assertEqual(stat["size"], 5)
        with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
            self.assertEqual(tar.extractfile("x.txt").read(), b"hello")

    def test_commit_and_diff(self):
        made = self.started("touch /new")
        made.wait()
        self.assertIn({"Path": "/new", "Kind": 1}, made.diff())
        image = made.commit(name(), changes=["CMD [\"ls\", \"/new\"]"])
        self.addCleanup(self.client.images.remove, image.id, force=True)
        self.assertEqual(self.client.containers.run(image.id, remove=True), b"/new\n")

    def test_links(self):
        other = self.started("sleep 1000", environment={"FOO": "1"})
        said = self.client.containers.run(IMAGE, "env", links={other.name: "mine"}, remove=True).decode()
        self.assertIn("MINE_ENV_FOO=1\n", said)
        self.assertIn("/mine\n", said)

    def test_log_drivers(self):
        made = self.started("echo hello", log_config={"Type": "local"})
        made.wait()
        self.assertEqual(made.logs(), b"hello\n")
        with self.assertRaises(APIError) as refused:
            self.container("true", log_config={"Type": "asdf"})
        self.assertIn("asdf", str(refused.exception))


class Execs(Case):
    def setUp(self):
        super().setUp()
        self.made = self.started("sleep 1000")
        self.api = self.client.api

    def test_output_and_code(self):
        self.assertEqual(self.made.exec_run("echo hello"), (0, b"hello\n"))
        code, (out, err) = self.made.exec_run(["sh", "-c", "echo a; echo b >&2; exit 5"], demux=True)
        self.assertEqual((code, out, err), (5, b"a\n", b"b\n"))

    def test_a_terminal_is_framed_when_the_start_does_not_ask_for_one(self):
        made = self.api.exec_create(self.made.id, "echo hello", tty=True)
        self.assertEqual(self.api.exec_start(made["Id"]), b"hello\r\n")

    def test_a_failure_is_told_in_the_stream(self):
        code, said = self.made.exec_run("no-such-program")
        self.assertIn(b"executable file not found", said)
        self.assertEqual(code, 127)

    def test_detach_keys(self):
        made = self.started("cat", stdin_open=True, tty=True)
        sock = made.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1, "detachKeys": "ctrl-x"})
        sock = getattr(sock, "_sock", sock)
        self.addCleanup(sock.close)
        sock.settimeout(20)
        sock.sendall(b"\x18")
        while sock.recv(100):
            pass
        made.reload()
        self.assertEqual(made.status, "running")


class Images(Case):
    def test_build(self):
        dockerfile = f"FROM {IMAGE}\nARG WORD\nRUN echo $WORD > /word; echo bad >&2\nCMD [\"cat\", \"/word\"]\n"
        with tempfile.TemporaryDirectory() as context:
            with open(os.path.join(context, "Dockerfile"), "w") as file:
                file.write(dockerfile)
            tag = name()
            image, said = self.client.images.build(path=context, tag=tag, buildargs={"WORD": "yes"}, rm=True)
            self.addCleanup(self.client.images.remove, image.id, force=True)
            self.assertEqual(self.client.containers.run(tag, remove=True), b"yes\n")
            again = list(self.client.api.build(path=context, buildargs={"WORD": "yes"}, decode=True))
            self.assertTrue(any("Using cache" in line.get("stream", "") for line in again))
            apart = {"buildargs": {"WORD": "yes"}, "cache_from": ["no-such-image"], "decode": True}
            apart = list(self.client.api.build(path=context, **apart))
            self.assertFalse(any("Using cache" in line.get("stream", "") for line in apart))

    def test_build_errors(self):
        with self.assertRaises(BuildError) as failed:
            self.client.images.build(fileobj=io.BytesIO(f"FROM {IMAGE}\nRUN exit 3\n".encode()))
        self.assertIn("returned a non-zero code: 3", str(failed.exception))

    def test_names(self):
        image, tag = self.client.images.get(IMAGE), name()
        self.assertTrue(image.tag(tag, "1"))
        self.assertIn(f"{tag}:1", self.client.images.get(f"{tag}:1").tags)
        self.client.images.remove(f"{tag}:1")
        with self.assertRaises(ImageNotFound):
            self.client.images.get(f"{tag}:1")

    def test_save_and_load(self):
        saved = b"".join(self.client.images.get(IMAGE).save(named=True))
        self.assertTrue(self.client.images.load(saved))


class Networks(Case):
    def test_names_and_addresses(self):
        pool = docker.types.IPAMPool(subnet="172.31.97.0/24", aux_addresses={"other": "172.31.97.2"})
        network = self.network(ipam=docker.types.IPAMConfig(pool_configs=[pool]))
        web = self.started("sleep 1000", network=network.name)
        self.assertEqual(web.exec_run(["ping", "-c1", "-W2", web.name])[0], 0)
        other = self.started("sleep 1000")
        network.connect(other, aliases=["helper"], ipv4_address="172.31.97.9", link_local_ips=["169.254.8.8"])
        other.reload()
        place = other.attrs["NetworkSettings"]["Networks"][network.name]
        self.assertEqual((place["IPAddress"], place["IPAMConfig"]["LinkLocalIPs"]), ("172.31.97.9", ["169.254.8.8"]))
        self.assertEqual(web.exec_run(["ping", "-c1", "-W2", "helper"])[0], 0)
        network.disconnect(other)
        network.reload()
        self.assertEqual([c.id for c in network.containers], [web.id])
        web.remove(force=True)

    def test_a_name_with_a_space(self):
        made = self.client.networks.create(f"{name()} two")
        made.remove()

    def test_published_ports(self):
        made = self.started("httpd -f -p 80 -h /etc", ports={"80/tcp": ("127.0.0.1", None)})
        made.reload()
        self.assertEqual(made.ports["80/tcp"][0]["HostIp"], "127.0.0.1")
        self.assertGreater(int(made.ports["80/tcp"][0]["HostPort"]), 0)


class System(Case):
    def test_events(self):
        since = int(time.time())
        seen = []
        filters = {"type": "container", "label": name()}
        stream = self.client.events(since=since, decode=True, filters=filters)
        reader = threading.Thread(target=lambda: seen.extend(event["Action"] for event in stream), daemon=True)
        reader.start()
        self.client.containers.run(IMAGE, "true", remove=True, labels=[filters["label"]])
        wanted = ["create", "start", "die", "destroy"]
        deadline = time.monotonic() + 20
        while not set(wanted) <= set(seen) and time.monotonic() < deadline:
            time.sleep(0.02)
        stream.close()
        self.assertEqual([action for action in seen if action in wanted], wanted)

    def test_volumes(self):
        made = self.client.volumes.create(name(), labels={"a": "b"})
        self.assertIn(made.name, [v.name for v in self.client.volumes.list(filters={"label": "a=b"})])
        made.remove()
        with self.assertRaises(NotFound):
            self.client.volumes.get(made.name)

    def test_about(self):
        self.assertTrue(self.client.ping())
        self.assertIn("json-file", self.client.info()["Plugins"]["Log"])
        self.assertIsInstance(self.client.df()["Images"], list)


if __name__ == "__main__":
    unittest.main(verbosity=1)
