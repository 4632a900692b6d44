"""``completion``: the script by which a shell asks what the Tab key is to offer."""

from typing import Annotated, Literal

import typer

from wa_sessions.cli import terminal

FILES = ":files"

_BASH = """\
_wa_sessions() {
    local found
    COMPREPLY=()
    found=$(_WA_SESSIONS_COMPLETE=complete_bash "$1" "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    if [[ $found == @FILES@ ]]; then
        compopt -o default
    elif [[ -n $found ]]; then
        mapfile -t COMPREPLY <<<"$found"
    fi
}
complete -o nosort -F _wa_sessions wa-sessions
"""
_ZSH = """\
#compdef wa-sessions
_wa_sessions() {
    local -a found
    found=("${(@f)$(_WA_SESSIONS_COMPLETE=complete_zsh "${(Q)words[1]}" "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ $found[1] == @FILES@ ]]; then
        _files
    elif [[ -n $found[1] ]]; then
        _describe -V wa-sessions found
    fi
}
if [[ $funcstack[1] == _wa_sessions ]]; then
    _wa_sessions "$@"
else
    compdef _wa_sessions wa-sessions
fi
"""
_FISH = """\
function __wa_sessions
    set -l words (commandline -opc)
    set -l program $words[1]
    set -e words[1]
    set -l typed (commandline -ct)
    set -l found (_WA_SESSIONS_COMPLETE=complete_fish $program $words "$typed" 2>/dev/null)
    if test "$found" = @FILES@
        __fish_complete_path "$typed"
    else
        string join \\n -- $found
    end
end
complete --command wa-sessions --no-files --keep-order --arguments '(__wa_sessions)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="Whose script to print.")],
) -> None:
    """Print the script that makes the Tab key complete words. Phones and operations too.

    bash, a line in ~/.bashrc: eval "$(wa-sessions completion bash)"

    zsh, a line in ~/.zshrc below compinit: eval "$(wa-sessions completion zsh)"

    fish, a line in ~/.config/fish/config.fish: wa-sessions completion fish | source

    It works in the next terminal that is opened.
    \f
    Phones (with their names, in zsh and fish) and operations come from the database that the environment, `--org` and
    `--database-url` name, and at a terminal from the embedded one, as for the command itself. Where it does not answer
    at once nothing is offered; an embedded server is never started.

    Exit: 0, 2.
    """
    script = _SCRIPTS[shell].replace("@FILES@", FILES)
    terminal.write(script.rstrip("\n"))
