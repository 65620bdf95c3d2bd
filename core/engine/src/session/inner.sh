# In the session's own shell: takes up the state, goes to the directory, runs the command, and
# leaves state and directory behind, however it ends. From { to } all is read before the state is
# there: no alias of the user's changes it, and "$__b" passes their functions by.
__d=$1 __n=$2 __s=$3 __w=$4 __m=$5 __x=$6 __e=$7 __p=$8
set --
__sa=${SSH_AUTH_SOCK-} __sc=${SSH_CONNECTION-} __sl=${SSH_CLIENT-} __st=${SSH_TTY-}
{
__z= __g=
[ -n "$__s" ] && "$__b" read -r __z < "$__d/$__s"
# A function may have been written with extglob, and is not understood without.
[ -z "${BASH_VERSION-}" ] || shopt -q extglob || { shopt -s extglob; __g=1; }
[ -n "$__s" ] && "$__b" . "$__d/$__s" 2>/dev/null
[ "$__z" = "#1" ] && "$__b" echo "bssh: the session's state could not be put back whole: $("$__b" . "$__d/$__s" 2>&1)" >&2
[ -n "$__g" ] && "$__b" shopt -u extglob
"$__b" unset SSH_TTY SSH_AUTH_SOCK SSH_CONNECTION SSH_CLIENT @EXCLUDED@
[ -n "$__sa" ] && "$__b" export SSH_AUTH_SOCK="$__sa"
[ -n "$__sc" ] && "$__b" export SSH_CONNECTION="$__sc"
[ -n "$__sl" ] && "$__b" export SSH_CLIENT="$__sl"
[ -n "$__st" ] && "$__b" export SSH_TTY="$__st"
__o=${OLDPWD-}
# zsh remembers where it was, not what OLDPWD says; with -q no hook of the user's runs.
if [ "$__b" = builtin ]; then
  [ -n "$__o" ] && builtin cd -q -- "$__o"
  builtin cd -q -- "$__w"
else "$__b" cd -- "$__w"; fi >/dev/null 2>&1 || { "$__b" echo gone > "$__d/$__n.cwd"; "$__b" exit 126; }
# Exported, as a login shell has it: only so is it part of the state when the command goes elsewhere.
if [ -n "$__o" ]; then OLDPWD=$__o
else "$__b" unset OLDPWD; [ "$__b" = builtin ] || "$__b" export OLDPWD; fi
[ "$__m" = u ] && __v=$("$__b" eval "$__dump")
[ -z "$__x" ] && __x=$(command cat "$__d/$__n.in")
"$__b" eval "$__e"
# For exit, and whatever else ends the shell. What the user has set to be told of every step
# (set -x, traps) hears nothing of what is ours, and what they have set to export all (set -a)
# does not get it.
"$__b" trap '{ __q=$?; "$__b" set +aeuvx; "$__b" trap - EXIT DEBUG ERR; __r=$__q; "$__b" unset __q; } >/dev/null 2>&1
"$__b" eval "$__save"; "$__b" exit "$__r"' EXIT
eval "$__x"
# Here and not in the trap, which may be the user's by now: it runs at the exit.
{ __q=$?; "$__b" set +aeuvx; "$__b" trap - DEBUG ERR; __r=$__q; "$__b" unset __q; } >/dev/null 2>&1
"$__b" eval "$__save"
"$__b" exit "$__r"
}
