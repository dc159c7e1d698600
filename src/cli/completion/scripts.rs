//! The completion scripts: what `clap_complete` generates, extended by a call of `complete-word` for bash, zsh and fish.

use clap::Command;
use clap_complete::Shell;

/// In bash the program quotes what is inserted, because bash does not.
const BASH: &str = r#"
_dossierd_candidates() {
    local output
    output=$(command dossierd complete-word bash "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null) || return 1
    COMPREPLY=()
    local line
    while IFS= read -r line; do
        COMPREPLY+=("$line")
    done <<<"$output"
}
"#;

/// Zsh matches and quotes the values itself.
const ZSH: &str = r#"
_dossierd_candidates() {
    local output line
    output=$(command dossierd complete-word zsh "${(@Q)words[1,CURRENT]}" 2>/dev/null) || return 1
    local -a values displays
    for line in "${(@f)output}"; do
        values+=("${line%%$'\t'*}")
        if [[ "${line#*$'\t'}" == "" ]]; then
            displays+=("${line%%$'\t'*}")
        else
            displays+=("${line%%$'\t'*}  -- ${line#*$'\t'}")
        fi
    done
    compadd -l -d displays -a values
}
"#;

/// Fish matches and quotes the values itself. The condition finds them, so that they are searched once.
const FISH: &str = r"
function __dossierd_find_candidates
    set -g __dossierd_candidates (command dossierd complete-word fish (commandline -opc) (commandline -ct) 2>/dev/null)
    and test (count $__dossierd_candidates) -gt 0
end
function __dossierd_print_roots
    if __dossierd_find_candidates
        printf '%s\n' $__dossierd_candidates
    else
        __fish_complete_directories
    end
end
complete -c dossierd -n __dossierd_find_candidates -f -a '$__dossierd_candidates'
";

/// How the line of fish for `--project` ends.
const FISH_FILES: &str = " -r -F";

/// Returns the completion script of a shell.
pub(crate) fn script(shell: Shell, program: &mut Command) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, program, "dossierd", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let call_first = |function: &str| {
        // The script of bash begins with this line.
        let begin = "_dossierd() {\n";
        match script.split_once(begin) {
            Some((before, after)) => {
                format!("{before}{function}\n{begin}    _dossierd_candidates && return 0\n{after}")
            }
            None => script.clone(),
        }
    };
    match shell {
        Shell::Bash => call_first(BASH),
        Shell::Zsh => call_first(ZSH),
        Shell::Fish => {
            let lines = script.lines().map(|line| match line.strip_suffix(FISH_FILES) {
                Some(option) if line.contains(" -l project ") => {
                    format!("{option} -r -f -a '(__dossierd_print_roots)'\n")
                }
                _ => format!("{line}\n"),
            });
            lines.collect::<String>() + FISH
        }
        _ => script,
    }
}
