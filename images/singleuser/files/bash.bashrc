# Interactive shells in a learner's container: a prompt without \u, for which bash asks /etc/passwd.
[ -z "$PS1" ] && return
shopt -s checkwinsize
PS1='${JUPYTERHUB_USER:-$USER}:\w\$ '
