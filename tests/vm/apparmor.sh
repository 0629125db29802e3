#!/bin/sh
# AppArmor inside a machine of another kernel: /t/aa holds apparmor_parser with its loader. Ends with 0 when every line
# of it worked, and says so when there is nothing to try.
set -eu
export PATH=/t:$PATH WHARF_HOST=unix:///run/aa.sock
fail() { echo "FAILED: $*"; cat /tmp/aalog; exit 1; }
same() { # EXPECTED ACTUAL WHAT
  [ "$1" = "$2" ] || fail "$3: expected '$1', got '$2'"
  echo "ok: $3"
}
skip() { echo "skipped: AppArmor: $*"; exit 0; }
[ -x /t/aa/apparmor_parser ] || skip "no apparmor_parser was brought along"
[ -d /sys/kernel/security/apparmor ] || mount -t securityfs securityfs /sys/kernel/security
grep -q Y /sys/module/apparmor/parameters/enabled 2> /dev/null || skip "this kernel has none"
# What udev would have made, as in story.sh.
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
parser() { /t/aa/ld.so --library-path /t/aa /t/aa/apparmor_parser --config-file=/dev/null "$@"; }
# After the story a file system with id-mapped mounts is there.
root=/data/aa; [ ! -d /data/u ] || root=/data/u/aa
engine() { # FLAGS...
  wharf daemon -H "$WHARF_HOST" --data-root $root --exec-root /run/aa --tell-ready "$@" > /tmp/aaready 2>> /tmp/aalog &
  daemon=$!
  read -r word < /tmp/aaready || fail "an engine ($*)"
  same ready "$word" "an engine with AppArmor ($*)"
}
current() { wharf run --rm "$@" busybox cat /proc/self/attr/current; }
profile() { wharf inspect -f '{{.AppArmorProfile}}' "$1"; }
mkfifo /tmp/aaready
engine
wharf import /t/busybox.tar busybox > /dev/null || fail import

# Docker's default is not loaded: that is said, and how to load it.
wharf info -f '{{.SecurityOptions}}' | grep -q name=apparmor || fail "info says that there is AppArmor"
wharf info -f '{{.Warnings}}' | grep -q 'docker-default is not loaded' || fail "info warns"
same unconfined "$(current)" "without the default profile nothing is confined"
wharf run -d --name bare busybox sleep 1000 > /dev/null && same unconfined "$(profile bare)" "and inspect says so"
wharf rm -f bare > /dev/null

wharf daemon --print-apparmor-profile > /tmp/profile && parser -r /tmp/profile || fail "load the default profile"
wharf info -f '{{.Warnings}}' | grep -q docker-default && fail "info still warns"
same "docker-default (enforce)" "$(current)" "the default profile"
same unconfined "$(current --security-opt apparmor=unconfined)" "unconfined"
same unconfined "$(current --privileged)" "privileged is unconfined"
same unconfined "$(current --privileged --security-opt apparmor=docker-default)" "whatever profile it names"
same "docker-default (enforce)" "$(current --security-opt no-new-privileges -u 1000)" "with no_new_privs and a user"
same "docker-default (enforce)" "$(current --init)" "below an init"
same "docker-default (enforce)" "$(current -t | tr -d '\r')" "with a terminal"
same "docker-default (enforce)" "$(current --pid host --network host)" "in the host's namespaces"
same denied "$(wharf run --rm --cap-add SYS_ADMIN busybox sh -c 'mount -t tmpfs t /mnt 2> /dev/null || echo denied')" "the default denies mounts"
open="--security-opt systempaths=unconfined"
same "denied denied" "$(wharf run --rm $open busybox sh -c 'echo $(echo 60 > /proc/sys/vm/swappiness || echo denied) $(echo h > /proc/sysrq-trigger || echo denied)' 2> /dev/null)" \
  "the default denies the host's parameters"
wharf run -d --name c1 busybox sleep 1000 > /dev/null || fail "run -d"
same docker-default "$(profile c1)" "inspect names it"
same "docker-default (enforce)" "$(wharf exec c1 cat /proc/self/attr/current)" "exec"
same "docker-default (enforce)" "$(wharf exec --privileged c1 cat /proc/self/attr/current)" "a privileged exec, too"
same "docker-default (enforce)" "$(wharf exec -t -u 1000 c1 cat /proc/self/attr/current | tr -d '\r')" "with a terminal and a user"
wharf top c1 | grep -q sleep || fail top
same killed "$(wharf exec c1 sh -c 'sleep 1000 & kill -9 $! && echo killed')" "processes of a container signal each other"
wharf stop -t 5 c1 > /dev/null && wharf rm c1 > /dev/null || fail "stop"
printf 'FROM busybox\nRUN cat /proc/self/attr/current > /built\nCMD ["cat", "/built"]\n' > /tmp/Dockerfile.aa
mkdir -p /tmp/aactx && wharf build -q -t built -f /tmp/Dockerfile.aa /tmp/aactx > /dev/null || fail build
same "docker-default (enforce)" "$(wharf run --rm built)" "build steps"

# A profile of the user's.
cat > /tmp/mine <<'P'
profile mine flags=(attach_disconnected) {
  file,
  network,
  capability,
  signal,
  deny /denied/** w,
}
P
parser -r /tmp/mine || fail "load a profile"
write='mkdir -p /denied; echo x > /denied/x 2> /dev/null && echo written || echo denied; echo x > /x && echo written'
same "denied written" "$(wharf run --rm --security-opt apparmor=mine busybox sh -c "$write" 2> /dev/null | xargs echo)" "a profile of the user's"
same "denied written" "$(wharf run --rm --init --security-opt apparmor=mine busybox sh -c "$write" 2> /dev/null | xargs echo)" "below an init"
wharf run -d --name c2 --security-opt apparmor=mine --health-cmd '[ "$(cat /proc/self/attr/current)" = "mine (enforce)" ]' \
  --health-interval 100ms --wait busybox sleep 1000 > /dev/null || fail "health checks run under it"
echo "ok: health checks"
same "denied written" "$(wharf exec c2 sh -c "$write" 2> /dev/null | xargs echo)" "exec under it"
same mine "$(profile c2)" "inspect names it"
kill -9 $daemon; wait $daemon 2> /dev/null || true
engine
same "mine (enforce)" "$(wharf exec c2 cat /proc/self/attr/current)" "exec after kill -9 of the engine"
wharf rm -f c2 > /dev/null

# One that is not loaded.
set +e; wharf run --name c3 --security-opt apparmor=nope busybox true > /dev/null 2> /tmp/out; code=$?; set -e
# As with Docker's client, which takes "no such file or directory" for the program's.
same 127 $code "a profile that is not loaded"
grep -q 'unable to apply apparmor profile: .*the profile "nope" is not loaded' /tmp/out || { cat /tmp/out; fail "the reason is said"; }
wharf rm -f c3 > /dev/null
kill $daemon && wait $daemon || true
engine --apparmor-profile mine
same "mine (enforce)" "$(current)" "a default of the engine's own"
kill $daemon && wait $daemon || true
for f in subuid subgid; do echo dockremap:100000:65536 > /etc/$f; done
wharf daemon -H "$WHARF_HOST" --data-root $root --exec-root /run/aa --userns-remap default --tell-ready > /tmp/aaready 2>> /tmp/aalog &
daemon=$!
if read -r word < /tmp/aaready; then
  same "docker-default (enforce)" "$(current)" "in a user namespace"
  wharf run -d --name c4 busybox sleep 1000 > /dev/null
  same "docker-default (enforce)" "$(wharf exec c4 cat /proc/self/attr/current)" "exec in it"
  wharf rm -f c4 > /dev/null
  kill $daemon && wait $daemon || true
else
  echo "skipped: this kernel and file system have no user namespaces for layers"
fi

# wharf oci, by runc's words.
mkdir -p /data/b/rootfs && tar -xf /t/busybox.tar -C /data/b/rootfs && wharf oci --help > /dev/null || fail "a bundle"
bundle() { # PROFILE ARGS
  cat > /data/b/config.json <<J
{ "ociVersion": "1.2.0", "root": { "path": "rootfs" },
  "process": { "user": {}, "args": $2, "cwd": "/", "env": ["PATH=/bin"], "apparmorProfile": "$1" },
  "mounts": [ { "destination": "/proc", "type": "proc", "source": "proc" } ],
  "linux": { "namespaces": [ { "type": "mount" }, { "type": "pid" } ] } }
J
}
bundle mine '["cat", "/proc/self/attr/current"]'
same "mine (enforce)" "$(wharf oci run -b /data/b o1)" "wharf oci run"
bundle mine '["sleep", "1000"]'
wharf oci run -d -b /data/b o2 > /dev/null < /dev/null 2>&1 || fail "wharf oci run -d"
same "mine (enforce)" "$(wharf oci exec o2 cat /proc/self/attr/current)" "wharf oci exec"
same "docker-default (enforce)" "$(wharf oci exec --apparmor docker-default o2 cat /proc/self/attr/current)" "with a profile of its own"
wharf oci delete -f o2
bundle nope '["true"]'
wharf oci run -b /data/b o3 > /tmp/out 2>&1 && fail "wharf oci run with a profile that is not loaded"
grep -q '"nope" is not loaded' /tmp/out || fail "wharf oci says the reason"
echo "ok: wharf oci says what is not loaded"
wharf oci features | tr -d ' \n' | grep -q '"apparmor":{"enabled":true}' || fail features
echo "apparmor: all of it worked"
