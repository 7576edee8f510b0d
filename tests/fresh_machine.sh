#!/usr/bin/env bash
# Does on a new machine what README.rst says:
#
#     tests/fresh_machine.sh trixie|bookworm|sid [argument of './run tests' ...]
#
# Makes that Debian in a temporary folder, with no more than the packages that the README names,
# clones this repository into it, and runs there, as an ordinary user, the README's two commands
# and a job of Horovod. From the host it takes only the way to the package registries, and the data
# of the tests. Needs root, debootstrap and git.
set -euo pipefail
set -m      # each step gets a process group of its own, which a signal can end as a whole

repository=$(dirname "$(dirname "$(readlink -f "$0")")")
folder=''                           # of all that is made here
machine=''                          # the folder in it that is the machine's /
user=1000 home=/home/user           # of the ordinary user
environment=() steps=() step='' child=''

fail() {
    echo "error: $*" >&2
    exit 1
}

# ---- steps, and the end, whatever it is

# step NAME command ...: runs and times the command. It runs in the background because the shell
# acts on a signal only while it waits.
step() {
    step=$1 SECONDS=0
    shift
    printf '\n==== %s\n' "$step"
    "$@" < /dev/null &
    child=$!
    wait "$child"
    steps+=("$(printf '%7d  %s' $SECONDS "$step")")
    step='' child=''
}

# What the command says is shown only where it fails.
quietly() {
    "$@" > "$folder/log" 2>&1 || {
        tail -n 15 "$folder/log" >&2
        return 1
    }
}

# Those of a step that was broken off, and those that a step has left in the machine.
end_processes() {
    local root process
    [ -z "$child" ] || kill -KILL -- "-$child" 2> /dev/null || true
    for root in /proc/[0-9]*/root; do
        process=${root#/proc/} process=${process%/root}
        [ "$(readlink "$root")" != "$machine" ] || kill -KILL "$process" || true
    done
}

# What is mounted in the folder, the deepest first.
mounts() {
    awk -v folder="$folder/" 'index($2, folder) == 1 { print $2 }' /proc/mounts | sort -r
}

unmount_all() {
    local mount
    for _ in 1 2 3 4 5; do      # a process that was killed may hold one for a moment
        for mount in $(mounts); do
            umount "$mount" || true
        done
        [ -n "$(mounts)" ] || return 0
        sleep 1
    done
    return 1
}

# What is mounted is the host's: nothing is removed before all of it is gone.
remove_all() {
    end_processes
    unmount_all || {
        echo "error: $(mounts | tr '\n' ' ')can't be unmounted, so $folder stays: end what" \
             "'fuser -vm $machine/proc' lists, then 'umount -R $machine/*' and" \
             "'rm -r --one-file-system $folder'" >&2
        return 1
    }
    rm -rf --one-file-system "$folder"
}

finish() {
    local status=$?
    trap '' INT TERM HUP
    [ -z "$step" ] || steps+=("$(printf '%7d  %s: not finished' $SECONDS "$step")")
    remove_all || status=1
    printf '%s\n' '' 'seconds  step' "${steps[@]}"
    exit "$status"
}

# ---- what README.rst says

readme_packages() {
    tr '\n' ' ' < "$repository/README.rst" | grep -o "\`\`apt-get install [^\`]*" |
        sed -n '1s/.*apt-get install //p'
}

readme_commands() {
    sed -n '/^Two commands$/,/^The scripts$/s/^    \(\.\/run .*\)/\1/p' "$repository/README.rst"
}

# ---- what the host knows about the registries

# The one that the host's apt uses; none where it has another distribution's, and debootstrap takes
# Debian's own.
debian_mirror() {
    local sources=/etc/apt/sources.list
    { cat $sources $sources.d/*.list $sources.d/*.sources 2> /dev/null || true; } |
        grep -v '^ *#' | grep -oE -m 1 'https?://[^ ]*/debian/?( |$)' || true
}

apt_settings() {
    apt-config dump Acquire | grep -v IndexTargets
}

# The variables that pip reads. A folder of wheels and a cache are left out: a new machine has none.
# OPENBLAS_* tells of the processor, which is the same.
host_variables() {
    local names='PIP_.*|SSL_CERT_.*|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|[A-Za-z]*_(proxy|PROXY)|OPENBLAS_.*'
    env -0 | grep -zE "^($names)=" | grep -zvE '^PIP_(FIND_LINKS|CACHE_DIR)='
}

# The user's files of pip, as seen from the home folder.
user_files() {
    (cd "$HOME" && find .config/pip .pip -name pip.conf 2> /dev/null) || true
}

# The machine's files of pip, and all files that apt's and pip's settings name, such as
# certificates and constraints.
system_files() {
    local file
    {
        echo /etc/pip.conf /etc/xdg/pip/pip.conf
        apt_settings
        printf '%s\n' "${environment[@]}"
        cat /etc/pip.conf /etc/xdg/pip/pip.conf "${PIP_CONFIG_FILE:-/dev/null}" 2> /dev/null || true
        user_files | (cd "$HOME" && xargs -r cat)
    } | grep -oE "/[^ ,;\"']+" | sort -u | while read -r file; do
        [ ! -f "$file" ] || echo "${file#/}"
    done
}

# carry FROM TO: the files of the folder FROM that standard input names, into the machine's TO.
# The machine's own tar unpacks them, for which the links there lead into the machine.
carry() {
    tar --create --directory "$1" --dereference --mode=a+rX --files-from - |
        chroot "$machine" tar --extract --directory "$2" --no-same-owner --unlink-first
}

carry_settings() {
    apt_settings > "$machine/etc/apt/apt.conf.d/90host"
    system_files | carry / /
    user_files | carry "$HOME" "$home"
}

# ---- the machine

as_root() {
    chroot "$machine" env -i "${environment[@]}" HOME=/root DEBIAN_FRONTEND=noninteractive \
        PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# as_user 'shell command' [its arguments ...], in the clone
as_user() {
    chroot --userspec=$user:$user "$machine" env -i "${environment[@]}" HOME=$home \
        PATH=/usr/bin:/bin sh -c "cd ~/bert && $1" sh "${@:2}"
}

make_machine() {
    # shellcheck disable=SC2046
    quietly debootstrap --variant=minbase "$suite" "$machine" $(debian_mirror)
    mount -t proc proc "$machine/proc"
    mount -t tmpfs -o mode=1777 tmpfs "$machine/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666,gid=5,mode=620 devpts "$machine/dev/pts"
    cp --remove-destination /etc/resolv.conf "$machine/etc/resolv.conf"
    # Horovod ends in a segmentation fault where the machine's own name has no address
    printf '127.0.0.1 localhost %s\n' "$(hostname)" > "$machine/etc/hosts"
    chroot "$machine" useradd --uid $user --create-home --home-dir $home user
    # the package ca-certificates makes these certificates known when it is installed
    find /usr/local/share/ca-certificates -name '*.crt' 2> /dev/null | sed 's,^/,,' | carry / /
    carry_settings
}

install_packages() {
    quietly as_root apt-get -q update
    # shellcheck disable=SC2086
    quietly as_root apt-get -q -y install $1
    carry_settings      # again: a package may have put its own file in the place of the host's
}

# With the seeds that lie beside the data: tests read these, too.
copy_data() {
    mkdir "$machine$home/shared"
    cp -rL "$data" "$machine$home/shared/data"
    [ ! -d "$data/../seeds" ] || cp -rL "$data/../seeds" "$machine$home/shared/seeds"
}

# With the changes that are not committed yet. The owner of a CI's checkout may be somebody else,
# which git minds without the option.
clone() {
    local clone=$machine$home/bert
    git -c safe.directory='*' clone --quiet --no-hardlinks "$repository" "$clone"
    git -c safe.directory='*' -C "$repository" diff --binary HEAD |
        git -C "$clone" apply --allow-empty
    [ -z "$data" ] || copy_data
    chroot "$machine" chown -R $user:$user $home
}

# ---- what is tried

tests() {
    local status=0
    as_user "$test_command \"\$@\"" "$@" || status=$?
    # pytest's word for 'no test was asked for', which arguments such as -k may do
    [ "$status" -ne 5 ] || [ $# -eq 0 ] || status=0
    return "$status"
}

# What ./run finds missing is installed, by the command that it prints.
make_horovod() {
    local problem packages
    problem=$(as_user './run horovodrun --version' 2>&1 | tee >(cat >&2)) && return
    packages=$(sed -n "s/^error: .*'apt-get install \([^']*\)'.*/\1/p" <<< "$problem")
    [ -n "$packages" ] || return 1
    install_packages "$packages"
    as_user './run horovodrun --version'
}

# The first command in two processes, on a few examples.
horovod_job() {
    as_user "./run horovodrun -np 2 -H localhost:2 python bert/${first_command#./run } \
        --max_train_samples 64 --max_eval_samples 64 --output_dir by-two"
    as_user 'grep "\"workers\": 2" by-two/results.json'
}

# ---- all of it

case ${1-} in
    trixie | bookworm | sid) suite=$1 ;;
    *) fail "which Debian? 'tests/fresh_machine.sh trixie', bookworm or sid" ;;
esac
shift
[ "$(id -u)" = 0 ] || fail "needs root, for chroot and mount: 'sudo tests/fresh_machine.sh $suite'"
command -v debootstrap > /dev/null ||
    fail "no debootstrap: install it with 'apt-get install debootstrap'"

packages=$(readme_packages)
mapfile -t commands < <(readme_commands)
[ -n "$packages" ] || fail "README.rst names no packages: it had '\`\`apt-get install …\`\`'"
[ ${#commands[@]} -eq 2 ] ||
    fail "README.rst has ${#commands[@]} commands './run …' under 'Two commands' and not two"
first_command=${commands[0]} test_command=${commands[1]}

mapfile -t -d '' environment < <(host_variables)
data=$(readlink -m "${BERT_TEST_DATA:-$repository/../shared/data}")
if [ -d "$data" ]; then
    environment+=("BERT_TEST_DATA=$home/shared/data" BERT_NO_SKIPS=but-optional)
else
    echo "no test data: there is no folder $data (BERT_TEST_DATA names another)," \
         "so that tests may be skipped"
    data=''
fi

folder=$(readlink -f "$(mktemp -d "${TMPDIR:-/tmp}/fresh-$suite.XXXXXX")")
case $folder in
    *[!A-Za-z0-9._/-]*) rmdir "$folder"; fail "TMPDIR=$TMPDIR: /proc/mounts writes only letters," \
        "digits and ._- as they are: name another with 'TMPDIR=/tmp tests/fresh_machine.sh …'" ;;
esac
machine=$folder/machine
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

step "debootstrap $suite" make_machine
step "apt-get install $packages" install_packages "$packages"
step 'git clone' clone
step "$first_command" as_user "$first_command"
step "$test_command${*:+ $*}" tests "$@"
step 'building Horovod' make_horovod
step 'a job of Horovod' horovod_job
