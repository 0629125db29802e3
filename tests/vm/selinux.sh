#!/bin/sh
# SELinux inside a machine whose kernel was booted with it (selinux=1 security=selinux): /t/policy is a small policy that
# knows containers. Ends with 0 when every line of it worked, and says so when there is nothing to try.
set -eu
export PATH=/t:$PATH WHARF_HOST=unix:///run/se.sock
fail() { echo "FAILED: $*"; cat /tmp/selog; dmesg | grep avc | tail -5; exit 1; }
same() { # EXPECTED ACTUAL WHAT
  [ "$1" = "$2" ] || fail "$3: expected '$1', got '$2'"
  echo "ok: $3"
}
skip() { echo "skipped: SELinux: $*"; exit 0; }
[ -e /t/policy ] || skip "no policy was brought along"
grep -q selinuxfs /proc/filesystems || skip "this kernel was not booted with it"
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
engine() { # FLAGS...
  wharf daemon -H "$WHARF_HOST" --data-root /data/u/se --exec-root /run/se --tell-ready "$@" > /tmp/seready 2>> /tmp/selog &
  daemon=$!
  read -r word < /tmp/seready || fail "an engine ($*)"
  same ready "$word" "an engine ($*)"
}
stop() { kill $daemon && wait $daemon || true; }
label() { tr -d '\0' < "/proc/$1/attr/current"; }
of() { wharf inspect -f "{{.$2}}" "$1"; }
own="cat /proc/self/attr/current"
mkfifo /tmp/seready
# Labels are kept by ext4, not by the machine's own memory.
modprobe ext4 2> /dev/null || true
mkdir -p /data/u && dd if=/dev/zero of=/data/seimage bs=1M count=0 seek=300 2> /dev/null && mke2fs -F /data/seimage > /dev/null 2>&1
mount -t ext4 -o loop /data/seimage /data/u || fail "mount ext4"

# Without a policy there is nothing to label with.
mount -t selinuxfs selinuxfs /sys/fs/selinux
engine --selinux-enabled
grep -q 'SELinux is not enabled in the kernel, or no policy is loaded' /tmp/selog || fail "the missing policy is said"
stop
dd if=/t/policy of=/sys/fs/selinux/load bs=16M 2> /dev/null || fail "load the policy"
echo 1 > /sys/fs/selinux/enforce
engine --selinux-enabled
wharf info -f '{{.Warnings}}' | grep -q container-selinux || fail "a policy without containers is said"
stop
mkdir -p /etc/selinux/mini/contexts && echo SELINUXTYPE=mini > /etc/selinux/config
cat > /etc/selinux/mini/contexts/lxc_contexts <<L
process = "system_u:system_r:container_t:s0"
file = "system_u:object_r:container_file_t:s0"
L

# Docker labels nothing unless told to, and does not look at what is asked of labels.
engine
wharf import /t/busybox.tar busybox > /dev/null || fail import
same "system_u:system_r:kernel_t:s0-s0:c0.c1023" "$(wharf run --rm --security-opt label=nonsense busybox $own | tr -d '\0')" "no labels without --selinux-enabled"
stop
engine --selinux-enabled
wharf info -f '{{.SecurityOptions}}' | grep -q name=selinux || fail "info says that there is SELinux"
wharf run -d --name c1 busybox sleep 1000 > /dev/null || fail "run -d"
wharf run -d --name c2 busybox sleep 1000 > /dev/null || fail "run -d"
p1=$(of c1 ProcessLabel); p2=$(of c2 ProcessLabel); m1=$(of c1 MountLabel)
case $p1 in system_u:system_r:container_t:s0:c*,c*) echo "ok: inspect says the label";; *) fail "ProcessLabel $p1";; esac
[ "$p1" != "$p2" ] || fail "two containers have one level"
same "${p1#*container_t:}" "${m1#*container_file_t:}" "files have the process's level"
same "$p1" "$(label "$(of c1 State.Pid)")" "the process has it"
same "$p1" "$(wharf exec c1 $own | tr -d '\0')" "exec"
same "$p1" "$(wharf exec -t c1 $own | tr -d '\0\r')" "with a terminal"
for mount in "overlay /" "tmpfs /dev" "devpts /dev/pts" "shm /dev/shm"; do
  wharf exec c1 grep "^${mount% *} ${mount#* } " /proc/mounts | grep -q "context=.*${m1#*container_file_t:}" || fail "the label of ${mount#* }: $(wharf exec c1 cat /proc/mounts)"
done
echo "ok: mounts are labelled"
wharf exec c1 sh -c 'echo x > /x && echo y > /tmp/y && echo z > /dev/shm/z && cat /etc/hosts > /dev/null && echo a >> /etc/hosts && ls /dev/mqueue' || fail "a container uses its own files"
same denied "$(wharf run --rm --volumes-from c1 busybox sh -c "cat /proc/1/environ > /dev/null; cat /proc/$(of c1 State.Pid)/environ 2> /dev/null || echo denied")" "processes of others"

# Volumes and binds.
mkdir -p /data/u/host/d && echo secret > /data/u/host/d/f
read_it='cat /h/d/f 2> /dev/null || echo denied'
same denied "$(wharf run --rm -v /data/u/host:/h busybox sh -c "$read_it")" "the host's files"
same secret "$(wharf run --rm -v /data/u/host:/h:z busybox sh -c "$read_it")" "the host's files with :z"
same secret "$(wharf run --rm -v /data/u/host:/h busybox sh -c "$read_it")" "all containers read them"
wharf run -d --name c3 -v /data/u/host:/h:Z busybox sleep 1000 > /dev/null || fail "run with :Z"
same secret "$(wharf exec c3 cat /h/d/f)" "the host's files with :Z"
same denied "$(wharf run --rm -v /data/u/host:/h busybox sh -c "$read_it")" "no other container reads them"
wharf run --rm -v /usr:/h:z busybox true > /tmp/out 2>&1 && fail "/usr is relabelled"
grep -q "error setting label on mount source '/usr': SELinux relabeling of /usr is not allowed" /tmp/out || { cat /tmp/out; fail "the reason is said"; }
echo "ok: /usr is not relabelled"
wharf run --rm -v data:/d busybox sh -c 'echo v > /d/v' || fail "a volume"
same v "$(wharf run --rm -v data:/d busybox cat /d/v)" "volumes are all containers'"

# What is asked for.
same "system_u:system_r:other_t:s0:c5,c6" "$(wharf run --rm --security-opt label=type:other_t --security-opt label=level:s0:c5,c6 busybox $own | tr -d '\0')" "type and level"
same "system_u:system_r:kernel_t:s0-s0:c0.c1023" "$(wharf run --rm --security-opt label=disable busybox $own | tr -d '\0')" "label=disable"
wharf run -d --name p1 --privileged busybox sleep 1000 > /dev/null
same "/system_u:object_r:container_file_t:s0:c1022,c1023" "$(of p1 ProcessLabel)/$(of p1 MountLabel)" "privileged"
same "$p1" "$(wharf run --rm --pid container:c1 busybox $own | tr -d '\0')" "who shares namespaces has the label"
wharf run --rm --security-opt label=nested busybox true > /tmp/out 2>&1 && fail "label=nested"
grep -q 'bad label option "nested"' /tmp/out || fail "the wrong option is named"
wharf run --rm --security-opt label=type:nope_t busybox true > /tmp/out 2>&1 && fail "a type that is not there"
grep -q 'the loaded policy has no label' /tmp/out || { cat /tmp/out; fail "the wrong label is named"; }
echo "ok: what is wrong is said"
mkdir -p /tmp/sectx && echo context > /tmp/sectx/file
printf 'FROM busybox\nRUN %s > /built\nRUN --mount=type=cache,target=/c --mount=type=bind,target=/ctx echo x > /c/x && cat /c/x /ctx/file > /from\n' "$own" > /tmp/Dockerfile.se
wharf build -q -t built -f /tmp/Dockerfile.se /tmp/sectx > /dev/null || fail build
case $(wharf run --rm built cat /built | tr -d '\0') in system_u:system_r:container_t:s0:c*) echo "ok: build steps";; *) fail "build steps";; esac
same "x context" "$(wharf run --rm built cat /from | xargs echo)" "what build steps see besides"
kill -9 $daemon; wait $daemon 2> /dev/null || true
engine --selinux-enabled
same "$p1" "$(wharf exec c1 $own | tr -d '\0')" "exec after kill -9 of the engine"
wharf restart -t 0 c1 > /dev/null && same "$p1" "$(wharf exec c1 $own | tr -d '\0')" "a container keeps its label"
wharf rm -f $(wharf ps -aq) > /dev/null || fail rm
stop
echo "selinux: all of it worked"
