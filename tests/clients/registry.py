"""Our registry through oras and python-dxf, with TLS (REQUESTS_CA_BUNDLE). REGISTRY says where, AUTH how: basic or token."""

import hashlib
import os
import tempfile
import unittest

import oras.client
from dxf import DXF

REGISTRY = os.environ["REGISTRY"]


# It goes on with a token that is good for reading only when it is to write.
@unittest.skipIf(os.environ["AUTH"] == "token", "oras asks for one token, to read")
class Oras(unittest.TestCase):
    def test_an_artifact_goes_there_and_back(self):
        here = tempfile.mkdtemp()
        os.chdir(here)
        content = os.urandom(300_000)
        with open("note.bin", "wb") as file:
            file.write(content)
        client = oras.client.OrasClient(hostname=REGISTRY, auth_backend=os.environ["AUTH"])
        client.login(hostname=REGISTRY, username="me", password="secret")
        target = f"{REGISTRY}/private/note:1"
        pushed = client.push(target=target, files=["note.bin"], disable_path_validation=True)
        self.assertEqual(pushed.status_code, 201)
        (path,) = client.pull(target=target, outdir=os.path.join(here, "out"))
        with open(path, "rb") as file:
            self.assertEqual(file.read(), content)
        self.assertEqual(client.get_tags(f"{REGISTRY}/private/note"), ["1"])


class Dxf(unittest.TestCase):
    def test_blobs_and_aliases(self):
        def login(dxf, response):
            dxf.authenticate("me", "secret", response=response)

        dxf = DXF(REGISTRY, "private/dxf", login, tlsverify=os.environ["REQUESTS_CA_BUNDLE"])
        content = os.urandom(100_000)
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            digest = dxf.push_blob(file.name)
        self.assertEqual(digest, "sha256:" + hashlib.sha256(content).hexdigest())
        dxf.set_alias("one", digest)
        self.assertEqual(dxf.list_aliases(), ["one"])
        self.assertEqual(dxf.get_alias("one"), [digest])
        self.assertEqual(b"".join(dxf.pull_blob(digest)), content)
        self.assertEqual(dxf.blob_size(digest), len(content))
        dxf.del_alias("one")
        dxf.del_blob(digest)


if __name__ == "__main__":
    unittest.main()
