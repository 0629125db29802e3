"""Answers of the Engine API, request by request, beside those of Docker 28.

    answers.py check HOST     compares with answers.json, which was recorded from Docker; HOST is unix://PATH
    answers.py record HOST    records it anew; HOST is then Docker's

Statuses, kinds of content, error texts and all fields count. What is different for a reason is in `DIFFERENCES`.
The engine has the image `busybox` and nothing else; the requests remove what they make.
"""

import base64
import http.client
import io
import json
import pathlib
import re
import socket
import sys
import tarfile
import time
import urllib.parse

GOLDEN = pathlib.Path(__file__).with_name("answers.json")
VERSION = "/v1.51"
JSON = {"Content-Type": "application/json"}

# (pattern of "label field", reason)
DIFFERENCES = [
    (r"\.GraphDriver\.", "Docker names directories of its storage driver"),
    (r"\.HostConfig\.(Runtime|CgroupnsMode|OomKillDisable)=", "another runtime; cgroup namespaces on version 1 too"),
    (r"\.(HostnamePath|HostsPath|LogPath|ResolvConfPath|SandboxKey|Mountpoint)=", "paths of the engine"),
    (r"\.(MaskedPaths|ReadonlyPaths)", "Docker writes its defaults out"),
    (r"\.Mounts\[\d+\]\.Source=", "paths of the engine"),
    (r"\.DNSNames", "names are served on the default bridge, too"),
    (r"\.(DockerVersion|Driver|SizeRw|SizeRootFs)=", "of another engine"),
    (r"bridge\.name=|^network bridge .*\.IPAM\.", "the bridge is the engine's own"),
    (r"^(create bad|create type|create array|create null).*message", "the JSON parser's own words"),
    (r"^create bad name ", "the name is looked at before the command"),
    (r"^host (binds|bind target|bind root|bind mode) ", "400 where Docker has 500 for a bad request"),
    (r"^(host|start) (log size|seccomp|port|address|devices|dns|storage|tmpfs) ", "refused at creation already"),
    (r"^start (ulimit|ulimit order|sysctl) ", "the runtime's own words"),
    (r"^begin user .*status", "400 for a bad request"),
    (r"^(top bad|put garbage|put over) ", "the words, and 400 for a bad request"),
    (r"^(logs since|limit bad|filter publish bad|filter exited bad) ", "the words, and 400 for a bad request"),
    (r"^start (no command|directory) .*message", "the runtime's own words"),
    (r"^inspect (no command|directory) .*\.State\.Error", "the runtime's own words"),
    (r"^committed .*\.RootFS\.Layers\[1\]", "a layer without files is a layer"),
    (r"^network predefined .*message", "a blank at the end"),
    (r"^save none .*message", "the name with its tag, as everywhere else"),
    (r"^build without .*status", "400 for a bad request"),
    (r"^exec (user|keys|directory|environment) ", "an unknown user is found when the exec starts; bad keys are 400"),
    (r"^(checkpoints|swarm init) ", "neither is there, which is said"),
    (r"^pause again .*message", "the name in the place of the id"),
    (r"^(unpause again|pause ended).*message", "the name in the place of the id"),
    (r"^network overlap .*message", "says which network it is"),
    (r"^(connect host|disconnect again) .*message", "the words"),
    (r"^(volume option|volume device) .*message", "the words"),
    (r"^(build bad|load garbage) ", "the words"),
]


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Client:
    def __init__(self, host):
        self.path = host.removeprefix("unix://")
        self.answers = {}

    def request(self, method, path, body=None, headers=None):
        connection = Connection(self.path)
        if isinstance(body, (dict, list)):
            body, headers = json.dumps(body), headers or JSON
        connection.request(method, path if path.startswith("/v1.") else VERSION + path, body, headers or {})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response, content

    def __call__(self, label, method, path, body=None, headers=None):
        """One request whose answer is kept under its label."""
        response, content = self.request(method, path, body, headers)
        kind = (response.getheader("Content-Type") or "").split(";")[0]
        value = parse(content)
        assert label not in self.answers, label
        self.answers[label] = [response.status, kind, sorted(set(flat(normal(value))))]
        return value


def parse(content):
    if not content:
        return None
    try:
        return json.loads(content)
    except ValueError:
        return content.decode("latin1")[:500]


def normal(value, key=""):
    """Without what differs from run to run."""
    if isinstance(value, dict):
        return {text(k): normal(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [normal(v, key) for v in value]
    if isinstance(value, str):
        return text(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and key in CHANGING:
        return "<N>"
    return value


CHANGING = {"Created", "Pid", "Size", "SharedSize", "SizeRw", "SizeRootFs", "Containers", "SpaceReclaimed"}


def text(value):
    for pattern, name in [
        (r"sha256:[0-9a-f]{64}", "<digest>"),
        (r"\b[0-9a-f]{64}\b", "<id>"),
        (r"\b[0-9a-f]{12}\b", "<short>"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "<time>"),
        (r"\b172\.\d+\.\d+\.\d+\b", "<address>"),
        (r"\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b", "<mac>"),
    ]:
        value = re.sub(pattern, name, value)
    return value


def flat(value, path=""):
    if isinstance(value, dict):
        if not value:
            yield path + "={}"
        for key, inner in value.items():
            yield from flat(inner, f"{path}.{key}")
    elif isinstance(value, list):
        if not value:
            yield path + "=[]"
        for number, inner in enumerate(value):
            yield from flat(inner, f"{path}[{number}]")
    else:
        yield f"{path}={json.dumps(value)}"


def query(**parameters):
    encoded = {k: json.dumps(v) if isinstance(v, dict) else v for k, v in parameters.items()}
    return urllib.parse.urlencode(encoded)


def archive(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content.encode()))
    return out.getvalue()


def clean(client):
    _, content = client.request("GET", "/containers/json?all=1")
    for container in json.loads(content):
        client.request("DELETE", f"/containers/{container['Id']}?force=1&v=1")
    for network in ["n1", "n2", "n3"]:
        client.request("DELETE", f"/networks/{network}")
    for volume in ["v1", "v2", "v3"]:
        client.request("DELETE", f"/volumes/{volume}")
    for image in ["kept:1", "built:1", "named:1"]:
        client.request("DELETE", f"/images/{image}?force=1")


def make(client, name, **options):
    request = {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "none"}, **options}
    response, content = client.request("POST", f"/containers/create?name={name}", request)
    assert response.status == 201, content


# Host configurations, of which some cannot be.
HOSTS = {
    "memory": {"Memory": 1},
    "memory below zero": {"Memory": -5},
    "swap": {"Memory": 10 << 20, "MemorySwap": 5 << 20},
    "swap alone": {"MemorySwap": 100 << 20},
    "processors": {"NanoCpus": 10**14},
    "processors and quota": {"NanoCpus": 10**9, "CpuQuota": 5000},
    "period": {"CpuPeriod": 5},
    "quota": {"CpuQuota": 5},
    "set": {"CpusetCpus": "x"},
    "swappiness": {"MemorySwappiness": 200},
    "policy": {"RestartPolicy": {"Name": "bad"}},
    "policy count": {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 3}},
    "policy below zero": {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": -1}},
    "policy and removal": {"AutoRemove": True, "RestartPolicy": {"Name": "always"}},
    "binds": {"Binds": ["nope"]},
    "bind target": {"Binds": ["a:b"]},
    "bind mode": {"Binds": ["/a:/b:zz"]},
    "bind root": {"Binds": ["/tmp:/"]},
    "bind twice": {"Binds": ["/tmp:/x", "/var:/x"]},
    "mount": {"Mounts": [{"Type": "zz", "Target": "/x"}]},
    "mount source": {"Mounts": [{"Type": "bind", "Source": "/nonexistent", "Target": "/x"}]},
    "container": {"NetworkMode": "container:"},
    "host and ports": {"NetworkMode": "host", "PortBindings": {"80/tcp": [{"HostPort": "80"}]}},
    "pid": {"PidMode": "bad"},
    "ipc": {"IpcMode": "bad"},
    "uts": {"UTSMode": "bad"},
    "cgroup": {"CgroupnsMode": "bad"},
    "shm": {"ShmSize": -1},
    "oom": {"OomScoreAdj": 5000},
    "log driver": {"LogConfig": {"Type": "bad"}},
    "log option": {"LogConfig": {"Type": "json-file", "Config": {"nope": "1"}}},
    "log size": {"LogConfig": {"Type": "json-file", "Config": {"max-size": "x"}}},
    "seccomp": {"SecurityOpt": ["seccomp=nofile"]},
    "capability": {"CapAdd": ["NOPE"]},
    "runtime": {"Runtime": "nope"},
    "isolation": {"Isolation": "hyperv"},
    "ulimit": {"Ulimits": [{"Name": "nope", "Soft": 1, "Hard": 1}]},
    "ulimit order": {"Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 1}]},
    "port": {"PortBindings": {"80/zzz": [{"HostPort": "80"}]}},
    "address": {"PortBindings": {"80/tcp": [{"HostIp": "x", "HostPort": "80"}]}},
    "sysctl": {"Sysctls": {"a": "b"}},
    "storage": {"StorageOpt": {"size": "1G"}},
    "devices": {"Devices": [{"PathOnHost": "/dev/nope", "PathInContainer": "/dev/x", "CgroupPermissions": "rwm"}]},
    "dns": {"Dns": ["x"]},
    "hosts": {"ExtraHosts": ["x"]},
    "tmpfs": {"Tmpfs": {"/x": "bad=1"}},
    "volumes from": {"VolumesFrom": ["nope"]},
}
CONFIGS = {
    "check": {"Healthcheck": {"Test": ["CMD", "true"], "Interval": 5}},
    "signal": {"StopSignal": "NOPE"},
    "environment": {"Env": ["=x"]},
    "directory": {"WorkingDir": "rel"},
    "user": {"User": "nope"},
    "unknown fields": {"Nope": 1},
    "case": {"cmd": ["true"]},
}


def creation(client):
    client("ping", "GET", "/_ping")
    client("path", "GET", "/nope")
    client("method", "PATCH", "/containers/json")
    client("version", "GET", "/v1.99/info")
    client("create empty", "POST", "/containers/create", "")
    client("create bad", "POST", "/containers/create", "{nope", JSON)
    client("create kind", "POST", "/containers/create", "{}", {"Content-Type": "text/plain"})
    client("create image", "POST", "/containers/create", {"Image": "doesnotexist:1"})
    client("create nothing", "POST", "/containers/create", {})
    client("create bad name", "POST", "/containers/create?name=_bad!", {"Image": "busybox"})
    client("create type", "POST", "/containers/create", {"Image": 5})
    client("create array", "POST", "/containers/create", "[]", JSON)
    client("create trailing", "POST", "/containers/create", '{"Image":"busybox"} x', JSON)
    cases = [(f"host {name}", {"HostConfig": {"NetworkMode": "none", **host}}) for name, host in HOSTS.items()]
    cases += [(f"config {name}", config) for name, config in CONFIGS.items()]
    for label, options in cases:
        client(label, "POST", "/containers/create?name=a1", {"Image": "busybox", "Cmd": ["true"], **options})
        client(label.replace("host ", "start ").replace("config ", "begin "), "POST", "/containers/a1/start")
        client.request("DELETE", "/containers/a1?force=1&v=1")


def life(client):
    make(client, "a1", Labels={"zone": "b"}, Env=["A=1"], ExposedPorts={"90/udp": {}}, HostConfig={
        "NetworkMode": "none", "Memory": 64 << 20, "Binds": ["v1:/v:ro"], "CapAdd": ["NET_ADMIN"],
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
    })
    client("inspect created", "GET", "/containers/a1/json")
    for label, path in {
        "start": "start", "start again": "start", "pause": "pause", "pause again": "pause", "unpause": "unpause",
        "unpause again": "unpause", "stop": "stop?t=0", "stop again": "stop", "kill ended": "kill",
        "restart": "restart?t=0", "kill name": "kill?signal=NOPE", "kill number": "kill?signal=99",
        "resize": "resize?h=10&w=20", "resize nothing": "resize", "rename nothing": "rename",
        "rename itself": "rename?name=a1", "rename badly": "rename?name=%21",
    }.items():
        client(label, "POST", f"/containers/a1/{path}")
    client("inspect running", "GET", "/containers/a1/json")
    client("list", "GET", "/containers/json")
    for label, wanted in {
        "status": {"status": ["running"]}, "status bad": {"status": ["bad"]}, "label": {"label": ["zone"]},
        "label value": {"label": ["zone=c"]}, "name": {"name": ["^/a1$"]}, "ancestor": {"ancestor": ["nope"]},
        "exited bad": {"exited": ["x"]}, "volume": {"volume": ["v1"]}, "health bad": {"health": ["bad"]},
        "publish bad": {"publish": ["x"]}, "since": {"since": ["nope"]}, "unknown": {"nope": ["x"]},
        "old form": {"label": {"zone": True}},
    }.items():
        found = client.request("GET", "/containers/json?" + query(all=1, filters=wanted))[1]
        if isinstance(json.loads(found), list):
            client.answers[f"filter {label}"] = [200, "names", [str(n["Names"]) for n in json.loads(found)]]
        else:
            client(f"filter {label}", "GET", "/containers/json?" + query(all=1, filters=wanted))
    client("filter garbage", "GET", "/containers/json?filters=x")
    client("limit bad", "GET", "/containers/json?limit=x")
    client("top bad", "GET", "/containers/a1/top?ps_args=-o%20zzz")
    client("update", "POST", "/containers/a1/update", {"Memory": 128 << 20, "MemorySwap": -1})
    client("update bad", "POST", "/containers/a1/update", {"Memory": 1})
    client("update policy", "POST", "/containers/a1/update", {"RestartPolicy": {"Name": "zz"}})
    client("remove running", "DELETE", "/containers/a1")
    client("remove none", "DELETE", "/containers/nope")
    client("remove", "DELETE", "/containers/a1?force=1")
    client("volume of it", "GET", "/volumes/v1")
    for verb in ["start", "stop", "kill", "wait", "pause", "restart"]:
        client(f"{verb} none", "POST", f"/containers/nope/{verb}")
    for verb in ["exec", "update"]:
        client(f"{verb} none", "POST", f"/containers/nope/{verb}", {"Cmd": ["true"]})
    client("wait condition", "POST", "/containers/nope/wait?condition=bad")


def executions(client):
    make(client, "a1")
    client.request("POST", "/containers/a1/start")
    for label, request in {
        "plain": {"Cmd": ["true"]},
        "code": {"Cmd": ["sh", "-c", "exit 3"], "AttachStdout": True},
        "terminal": {"Cmd": ["echo", "hi"], "AttachStdout": True, "Tty": True, "WorkingDir": "/tmp"},
        "no program": {"Cmd": ["nope"], "AttachStdout": True},
        "user": {"Cmd": ["id"], "User": "nope", "AttachStdout": True},
        "keys": {"Cmd": ["true"], "DetachKeys": "zzzzz"},
        "nothing": {},
    }.items():
        made = client(f"exec {label}", "POST", "/containers/a1/exec", request)
        if "Id" not in made or label == "user":
            continue
        start = {"Detach": False, "Tty": request.get("Tty", False)}
        client(f"exec {label} start", "POST", f"/exec/{made['Id']}/start", start)
        # Without streams the answer does not wait for the end.
        deadline = time.time() + 20
        while json.loads(client.request("GET", f"/exec/{made['Id']}/json")[1])["Running"] and time.time() < deadline:
            pass
        client(f"exec {label} ended", "GET", f"/exec/{made['Id']}/json")
    client("exec inspect none", "GET", "/exec/nope/json")
    client("exec start none", "POST", "/exec/nope/start", {})


def archives(client):
    make(client, "a1", HostConfig={"NetworkMode": "none", "Binds": ["v1:/v:ro"]})
    response, _ = client.request("HEAD", "/containers/a1/archive?path=/bin/sh")
    stat = json.loads(base64.b64decode(response.getheader("X-Docker-Container-Path-Stat")))
    client.answers["stat"] = [response.status, "", sorted(flat({k: v for k, v in stat.items() if k != "mtime"}))]
    client("get none", "GET", "/containers/a1/archive?path=/nope")
    client("put none", "PUT", "/containers/a1/archive?path=/nope", archive({"x": "1"}))
    client("put garbage", "PUT", "/containers/a1/archive?path=/tmp", b"garbage")
    client("put over", "PUT", "/containers/a1/archive?path=/tmp&noOverwriteDirNonDir=1", archive({"x/y": "1"}))
    client("put", "PUT", "/containers/a1/archive?path=/tmp", archive({"x": "1"}))
    client("get elsewhere", "GET", "/containers/nope/archive?path=/")
    client("export none", "GET", "/containers/nope/export")
    client("changes none", "GET", "/containers/nope/changes")


def ends(client):
    make(client, "b1", Cmd=["sh", "-c", "echo out; echo err >&2; exit 7"])
    client.request("POST", "/containers/b1/start")
    client("wait", "POST", "/containers/b1/wait")
    client("logs", "GET", "/containers/b1/logs?stdout=1")
    client("logs of no stream", "GET", "/containers/b1/logs")
    client("logs none", "GET", "/containers/nope/logs?stdout=1")
    client("logs since", "GET", "/containers/b1/logs?stdout=1&since=x")
    client("inspect ended", "GET", "/containers/b1/json")
    client("exec ended", "POST", "/containers/b1/exec", {"Cmd": ["true"]})
    client("top ended", "GET", "/containers/b1/top")
    client("pause ended", "POST", "/containers/b1/pause")
    client("commit", "POST", "/commit?container=b1&repo=kept&tag=1&comment=hi&author=me", {"Env": ["Z=1"]})
    client("committed", "GET", "/images/kept:1/json")
    client("commit none", "POST", "/commit?container=nope")
    client("name taken", "POST", "/containers/create?name=b1", {"Image": "busybox", "Cmd": ["true"]})
    for label, command in {"no command": "nope", "directory": "/etc"}.items():
        make(client, "b2", Cmd=[command])
        client(f"start {label}", "POST", "/containers/b2/start")
        client(f"inspect {label}", "GET", "/containers/b2/json")
        client.request("DELETE", "/containers/b2")
    client("prune label", "POST", "/containers/prune?" + query(filters={"label": ["nope"]}))
    client("prune unknown", "POST", "/containers/prune?" + query(filters={"nope": ["nope"]}))
    client("checkpoints", "GET", "/containers/b1/checkpoints")


def networks(client):
    for name in ["bridge", "host", "none", "nope"]:
        client(f"network {name}", "GET", f"/networks/{name}")
    for label, request in {
        "nameless": {}, "predefined": {"Name": "bridge"}, "driver": {"Name": "n1", "Driver": "nope"},
        "host driver": {"Name": "n1", "Driver": "host"}, "overlay": {"Name": "n1", "Driver": "overlay"},
        "subnet": {"Name": "n1", "IPAM": {"Config": [{"Subnet": "x"}]}},
        "gateway": {"Name": "n1", "IPAM": {"Config": [{"Subnet": "10.9.0.0/16", "Gateway": "10.8.0.1"}]}},
        "base": {"Name": "n1", "IPAM": {"Config": [{"Subnet": "10.9.0.1/16"}]}},
        "made": {"Name": "n1", "Labels": {"a": "b"}, "Internal": True, "Attachable": True,
                 "IPAM": {"Config": [{"Subnet": "10.99.0.0/24", "IPRange": "10.99.0.128/25", "Gateway": "10.99.0.5",
                                      "AuxiliaryAddresses": {"x": "10.99.0.9"}}]}},
        "taken": {"Name": "n1"}, "overlap": {"Name": "n2", "IPAM": {"Config": [{"Subnet": "10.99.0.0/24"}]}},
        "swarm": {"Name": "n3", "Scope": "swarm"},
    }.items():
        client(f"network {label}", "POST", "/networks/create", request)
    client("network n1", "GET", "/networks/n1")
    client("network filter", "GET", "/networks?" + query(filters={"label": ["a=b"]}))
    client("network filter dangling", "GET", "/networks?" + query(filters={"dangling": ["x"]}))
    client("network filter unknown", "GET", "/networks?" + query(filters={"nope": ["x"]}))
    make(client, "a1", HostConfig={"NetworkMode": "n1"}, NetworkingConfig={"EndpointsConfig": {
        "n1": {"Aliases": ["al"], "IPAMConfig": {"IPv4Address": "10.99.0.200"}}}})
    client.request("POST", "/containers/a1/start")
    client("inspect connected", "GET", "/containers/a1/json")
    for name in ["n1", "bridge"]:
        outside = {name: {"IPAMConfig": {"IPv4Address": "10.1.0.200"}}}
        request = {"Image": "busybox", "HostConfig": {"NetworkMode": name}, "Cmd": ["true"],
                   "NetworkingConfig": {"EndpointsConfig": outside}}
        client(f"address outside {name}", "POST", "/containers/create?name=a2", request)
    client("connect none", "POST", "/networks/n1/connect", {"Container": "nope"})
    client("connect nowhere", "POST", "/networks/nope/connect", {"Container": "a1"})
    client("connect again", "POST", "/networks/n1/connect", {"Container": "a1"})
    client("connect host", "POST", "/networks/host/connect", {"Container": "a1"})
    client("network remove predefined", "DELETE", "/networks/bridge")
    client("network remove none", "DELETE", "/networks/nope")
    client("disconnect", "POST", "/networks/n1/disconnect", {"Container": "a1"})
    client("disconnect again", "POST", "/networks/n1/disconnect", {"Container": "a1"})
    client("network remove", "DELETE", "/networks/n1")
    client("network prune unknown", "POST", "/networks/prune?" + query(filters={"zz": ["zz"]}))


def volumes(client):
    for label, request in {
        "made": {"Name": "v1", "Labels": {"a": "b"}}, "again": {"Name": "v1"}, "name": {"Name": "a b"},
        "short": {"Name": "v"}, "driver": {"Name": "v2", "Driver": "nope"},
        "option": {"Name": "v3", "DriverOpts": {"zz": "x"}}, "device": {"Name": "v3", "DriverOpts": {"type": "nfs"}},
        "tmpfs": {"Name": "v2", "DriverOpts": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}},
    }.items():
        client(f"volume {label}", "POST", "/volumes/create", request)
    client("volume v2", "GET", "/volumes/v2")
    client("volume none", "GET", "/volumes/nope")
    client("volume filter dangling", "GET", "/volumes?" + query(filters={"dangling": ["x"]}))
    client("volume filter unknown", "GET", "/volumes?" + query(filters={"nope": ["x"]}))
    make(client, "u1", HostConfig={"NetworkMode": "none", "Binds": ["v1:/x"]})
    client("volume used", "DELETE", "/volumes/v1")
    client("volume remove none", "DELETE", "/volumes/nope")
    client("volume remove none by force", "DELETE", "/volumes/nope?force=1")
    client("volume update", "PUT", "/volumes/v1?version=1", {})
    client("volume prune unknown", "POST", "/volumes/prune?" + query(filters={"zz": ["zz"]}))


def images(client):
    client("image none", "GET", "/images/nope/json")
    client("history none", "GET", "/images/nope/history")
    client("image filter dangling", "GET", "/images/json?" + query(filters={"dangling": ["x"]}))
    client("image filter unknown", "GET", "/images/json?" + query(filters={"nope": ["1"]}))
    client("tag", "POST", "/images/busybox/tag?repo=named&tag=1")
    client("tag none", "POST", "/images/nope/tag?repo=x")
    client("untag", "DELETE", "/images/named:1")
    client("remove image none", "DELETE", "/images/nope")
    client("save none", "GET", "/images/nope/get")
    client("load garbage", "POST", "/images/load", b"garbage")
    tar = {"Content-Type": "application/x-tar"}
    client("build without", "POST", "/build", archive({"x": "1"}), tar)
    client("build bad", "POST", "/build", archive({"Dockerfile": "NOPE x"}), tar)
    client.request("POST", "/build?t=built:1", archive({"Dockerfile": "FROM busybox\nENV A=1\nLABEL x=y\n"}), tar)
    client("built", "GET", "/images/built:1/json")
    client("image prune unknown", "POST", "/images/prune?" + query(filters={"zz": ["zz"]}))


def system(client):
    for path in ["swarm", "nodes", "services", "tasks", "secrets", "configs", "plugins"]:
        client(f"system {path}", "GET", f"/{path}")
    client("plugin none", "GET", "/plugins/nope/json")
    client("swarm init", "POST", "/swarm/init", {})
    begin = time.time()
    make(client, "e1", Cmd=["sh", "-c", "exit 3"])
    for verb in ["start", "wait", "rename?name=e2"]:
        client.request("POST", f"/containers/e1/{verb}")
    client.request("DELETE", "/containers/e2")
    _, content = client.request("GET", "/events?" + query(since=begin, until=time.time(), filters={"type": ["container"]}))
    events = [json.loads(line) for line in content.splitlines() if line.strip()]
    shown = [(e["Action"], normal(e["Actor"]["Attributes"])) for e in events]
    client.answers["events"] = [200, "", [f"{action} {json.dumps(a, sort_keys=True)}" for action, a in shown]]


def gather(host):
    client = Client(host)
    for part in [creation, life, executions, archives, ends, networks, volumes, images, system]:
        clean(client)
        part(client)
    clean(client)
    return client.answers


def differences(label, expected, found):
    """Lines about what is different and has no reason to be."""
    lines = []
    if expected[0] != found[0]:
        lines.append(f".status={found[0]} instead of {expected[0]}")
    if expected[1] != found[1]:
        lines.append(f".kind={found[1]} instead of {expected[1]}")
    lines += [f"{field} is not Docker's" for field in found[2] if field not in expected[2]]
    lines += [f"{field} is missing" for field in expected[2] if field not in found[2]]
    excused = [pattern for pattern, _ in DIFFERENCES]
    return [line for line in lines if not any(re.search(p, f"{label} {line}") for p in excused)]


def check(host):
    expected, found = json.loads(GOLDEN.read_text()), gather(host)
    failed = 0
    for label, answer in expected.items():
        lines = differences(label, answer, found.get(label, [0, "", []]))
        failed += bool(lines)
        for line in lines:
            print(f"{label}: {line}")
    print(f"answers: {len(expected) - failed} as Docker's, {failed} not")
    return failed == 0


if __name__ == "__main__":
    verb, host = sys.argv[1:]
    if verb == "record":
        lines = [f"{json.dumps(label)}: {json.dumps(answer)}" for label, answer in gather(host).items()]
        GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    elif not check(host):
        sys.exit(1)
