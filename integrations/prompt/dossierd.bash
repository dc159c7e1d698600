# shellcheck shell=sh
# Prompt of bash: PS1='$(dossierd_prompt)\w\$ '. Also for zsh, and any POSIX shell that expands commands in its prompt.

# Prints the state of the project of the current directory, unless it is in order.
dossierd_prompt() {
    dossierd_prompt_dir=$PWD
    while ! dossierd_prompt_is_root "$dossierd_prompt_dir"; do
        case $dossierd_prompt_dir in
            */?*) dossierd_prompt_dir=${dossierd_prompt_dir%/*} ;;
            *) return 0 ;;
        esac
    done
    dossierd_prompt_line=$(timeout 0.5 dossierd status --short 2>/dev/null)
    case $? in
        10 | 11 | 12 | 13 | 78) ;;
        *) return 0 ;;
    esac
    # Names are data: no character of them may be expanded by the prompt.
    printf '[%s] ' "$(printf '%s' "$dossierd_prompt_line" | tr -d '%\\$`!')"
}

dossierd_prompt_is_root() {
    for dossierd_prompt_name in .dossierd kitty-specs specs openspec .kiro .planning conductor _bmad-output docs/adr; do
        [ -d "$1/$dossierd_prompt_name" ] && return 0
    done
    return 1
}
