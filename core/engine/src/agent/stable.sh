# Keeps a path to the agent that outlives connections: ~/.ssh/bssh-agent-I.sock leads to the socket
# of this connection until stdin ends; then to the one before, if that one is still there.
# Given: I (whose it is). POSIX shell only.
umask 077
d=$HOME/.ssh
l=$d/bssh-agent-$I.sock
no() { echo "NO $1"; exit 1; }
[ -S "$SSH_AUTH_SOCK" ] || no "the node has no socket for the agent"
[ -d "$d" ] || mkdir "$d" || no "$d cannot be made"
[ -O "$d" ] || no "$d belongs to somebody else"
b=$(readlink "$l" 2>/dev/null)
alive() { # a socket; one of a server that was killed is left behind, with its pid in the name
  [ -S "$1" ] || return 1
  p=${1##*/agent.}
  case $p in '' | *[!0-9]*) return 0 ;; esac
  [ ! -d /proc/self ] || [ -d "/proc/$p" ]
}
to() { ln -s "$1" "$l.$$" && mv -f "$l.$$" "$l"; }
to "$SSH_AUTH_SOCK" || no "$l cannot be made"
trap 'exit 0' HUP INT TERM
trap '[ "$(readlink "$l" 2>/dev/null)" = "$SSH_AUTH_SOCK" ] && {
  if [ "$b" != "$SSH_AUTH_SOCK" ] && alive "$b"; then to "$b"; else rm -f "$l"; fi
}' EXIT
echo "OK $l"
read -r r
