#!/usr/bin/env bash
# A fresh Debian 12 with git, make, a C compiler and the Rust toolchain, and somebody who may not become root and types what the
# README says. Needs root for the chroot that stands for the machine; the toolchain, the fetched crates and what this checkout has
# compiled of them for `--release` are this machine's, and what `make test` needs is compiled there.
#
#   1. `make run` names the line to type for what is missing.   2. That line is typed, by root.
#   3. `make run` serves; redis-cli works over the printed address; Ctrl-C leaves nothing.   4. `make test` is green.
#
# Its logs are put beside those of this checkout if that has nothing that is not committed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

fail() {
    echo "newcomer.sh: $*" >&2
    exit 1
}
[[ $(id -u) -eq 0 ]] || fail "a chroot needs root; type: sudo tests/tools/newcomer.sh"

work=$PWD/.tools/newcomer
base=$work/base root=$work/machine
mkdir -p "$work"
if [[ ! -d $base ]]; then
    rm -rf "$base.unfinished"
    debootstrap --variant=minbase --include=git,make,gcc,libc6-dev bookworm "$base.unfinished" >"$work/debootstrap.log" 2>&1 ||
        fail "debootstrap failed: $(tail -n 3 "$work/debootstrap.log")"
    mv "$base.unfinished" "$base"
fi
cargo fetch --locked --quiet
[[ -z $(git status --porcelain) ]] || echo "newcomer.sh: WARNING: what is not committed is not tested here; make test does that" >&2
rm -rf --one-file-system "$root"
cp -a --reflink=auto "$base" "$root"
sysroot=$(rustc --print sysroot)
mkdir -p "$root/usr/local/rust" "$root/usr/local/crates" "$root/opt/source"
cp /etc/resolv.conf /etc/hosts "$root/etc/" 2>/dev/null || true

# Only what is committed, as a clone has it.
git clone --quiet --bare --no-hardlinks . "$root/opt/source/redhold.git"
tests/tools/seed.sh target/release "$root/opt/source/release"

cat >"$root/opt/steps" <<'STEPS'
set -euo pipefail
user=ada home=/home/ada
useradd --create-home --shell /bin/bash $user
# Where they lie is a part of what cargo knows compiled crates by.
mkdir -p "$CRATES"
cp -a /usr/local/crates/registry "$CRATES/"
chown -R $user: $home /opt/source "$CRATES"
for above in $(dirname "$CRATES") $(dirname "$(dirname "$CRATES")"); do chmod o+x "$above"; done
as() { setpriv --reuid $user --regid $user --init-groups --no-new-privs env -i HOME=$home USER=$user CARGO_HOME="$CRATES" \
    PATH=/usr/local/rust/bin:/usr/local/bin:/usr/bin:/bin CARGO_NET_OFFLINE=true CARGO_INCREMENTAL=0 "$@"; }
fail() { echo "newcomer.sh: $*" >&2; exit 1; }
step() { echo "newcomer.sh: $*, after $SECONDS s"; }

as git clone --quiet /opt/source/redhold.git $home/redhold
cd $home/redhold
if [[ -d /opt/source/release ]]; then
    as mkdir target
    mv /opt/source/release target/
fi

step "make run without redis-server"
if as make run >/tmp/refused 2>&1; then fail "make run without a redis-server succeeded"; fi
line=$(grep -o 'type: .*' /tmp/refused | head -n 1) || { cat /tmp/refused >&2; fail "no line to type"; }
step "it says: ${line#type: }"
line=${line#type: }
DEBIAN_FRONTEND=noninteractive bash -ec "${line//sudo /}" >/tmp/apt 2>&1 || { cat /tmp/apt >&2; fail "that line fails"; }

step "make run"
# With job control the command is a process group of its own, as at a terminal, and Ctrl-C is a signal to all of it.
set -m
as make run >/tmp/run 2>&1 </dev/null &
group=$!
for _ in $(seq 9000); do
    grep -q 'redis-cli -h' /tmp/run && break
    kill -0 $group 2>/dev/null || { cat /tmp/run >&2; fail "make run ended"; }
    sleep 0.1
done
paste=$(grep -o 'redis-cli -h .*' /tmp/run | head -n 1)
[[ -n $paste ]] || { cat /tmp/run >&2; fail "make run prints no line to paste"; }
step "it says: $paste"
[[ $(as $paste SET greeting hello) == OK && $(as $paste GET greeting) == hello ]] || fail "$paste does not work"
kill -INT -- -$group
wait $group && code=0 || code=$?
[[ $code -eq 0 || $code -eq 2 || $code -eq 130 ]] || fail "make run ended with $code after Ctrl-C"
set +m
ours() { find /proc -maxdepth 1 -user $user -name '[0-9]*' 2>/dev/null; }
for _ in $(seq 100); do [[ -z $(ours) ]] && break; sleep 0.1; done
[[ -z $(ours) ]] || fail "Ctrl-C left processes: $(for process in $(ours); do tr '\0' ' ' <"$process/cmdline"; echo; done)"
[[ -z $(find /tmp /dev/shm -user $user 2>/dev/null) ]] || fail "Ctrl-C left files: $(find /tmp /dev/shm -user $user)"

step "make test"
as make test 2>&1 || fail "make test failed"
[[ -z $(as git status --porcelain) ]] || fail "the checkout is not clean afterwards: $(as git status --porcelain)"
step "done"
STEPS

# Mounts and processes live in namespaces of their own and end with them.
unshare --mount --pid --fork --kill-child bash -ec '
    mount -t proc proc "$1/proc"
    mount --rbind /dev "$1/dev"
    mount --bind -o ro "$2" "$1/usr/local/rust"
    mount --bind "$3" "$1/usr/local/crates"
    exec chroot "$1" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root CI="${CI:-}" CRATES="$3" bash /opt/steps' \
    newcomer "$root" "$sysroot" "${CARGO_HOME:-$HOME/.cargo}"
if [[ -z $(git status --porcelain) ]]; then
    mkdir -p target/test-logs
    cp "$root"/home/ada/redhold/target/test-logs/*.log target/test-logs/
fi
rm -rf --one-file-system "$root"
