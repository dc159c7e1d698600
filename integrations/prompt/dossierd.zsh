# Prompt of zsh: setopt prompt_subst; PROMPT='$(dossierd_prompt)%~ %# '
. "${${(%):-%x}:A:h}/dossierd.bash"
