# In the session's own shell: takes up the state, goes to the directory, runs the command, and
# leaves state and directory behind, however it ends.
__d=$1 __n=$2 __s=$3 __w=$4 __m=$5 __x=$6 __e=$7 __p=$8
set --
__sa=${SSH_AUTH_SOCK-} __sc=${SSH_CONNECTION-} __sl=${SSH_CLIENT-} __st=${SSH_TTY-}
[ -n "$__s" ] && . "$__d/$__s" 2>/dev/null
unset SSH_TTY SSH_AUTH_SOCK SSH_CONNECTION SSH_CLIENT @EXCLUDED@
[ -n "$__sa" ] && export SSH_AUTH_SOCK="$__sa"
[ -n "$__sc" ] && export SSH_CONNECTION="$__sc"
[ -n "$__sl" ] && export SSH_CLIENT="$__sl"
[ -n "$__st" ] && export SSH_TTY="$__st"
__o=${OLDPWD-}
# zsh remembers where it was, not what OLDPWD says.
[ -n "${ZSH_VERSION-}" ] && [ -n "$__o" ] && cd -- "$__o" 2>/dev/null
cd -- "$__w" 2>/dev/null || { echo gone > "$__d/$__n.cwd"; exit 126; }
if [ -n "$__o" ]; then OLDPWD=$__o; else unset OLDPWD; fi
[ "$__m" = u ] && __v=$(eval "$__dump")
[ -z "$__x" ] && __x=$(cat "$__d/$__n.in")
eval "$__e"
trap '__q=$?; trap - EXIT; set +e +u; eval "$__save"; exit $__q' EXIT
eval "$__x"
