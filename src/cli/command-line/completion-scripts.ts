/**
 * The scripts that make the shells ask `xlsnap completion` at each Tab. A name that comes back is data: bash inserts what
 * xlsnap has quoted for it (shell-words.ts), zsh and fish quote whole words themselves.
 */

const BASH = `# bash completion for xlsnap: eval "$(xlsnap completion bash)"
_xlsnap() {
  mapfile -t COMPREPLY < <("\${COMP_WORDS[0]}" completion bash --line "\${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
}
complete -o default -F _xlsnap xlsnap
`;

/**
 * (Q) unquotes a word and expands nothing in it. As a file _xlsnap in a folder of fpath it is the body of the function _xlsnap
 * until it has run once: that first time it has to complete as well.
 */
const ZSH = `#compdef xlsnap
# zsh completion for xlsnap, after compinit: eval "$(xlsnap completion zsh)"
_xlsnap() {
  local -a found
  found=(\${(f)"$("\${(Q)words[1]}" completion zsh -- "\${(@Q)words[1,CURRENT-1]}" "\${(Q)PREFIX}" 2>/dev/null)"})
  compadd -a found || _files
}
compdef _xlsnap xlsnap
[[ "$funcstack[1]" != _xlsnap ]] || _xlsnap
`;

/** The first words come unquoted; of the last one xlsnap needs the beginning. fish expands a tilde in what it inserts. */
const FISH = `# fish completion for xlsnap: xlsnap completion fish | source
function __xlsnap_complete
    set -l words (commandline --current-process --cut-at-cursor --tokenize)
    set -l last (commandline --current-token --cut-at-cursor)
    set -l found ($words[1] completion fish -- $words "$last" 2>/dev/null | string match --invert '~*')
    if set -q found[1]
        printf '%s\\n' $found
    else
        __fish_complete_path "$last"
    end
end
complete --command xlsnap --no-files --arguments '(__xlsnap_complete)'
`;

/** By the name of the shell. */
export const COMPLETION_SCRIPTS: ReadonlyMap<string, string> = new Map([
  ['bash', BASH],
  ['zsh', ZSH],
  ['fish', FISH],
]);
