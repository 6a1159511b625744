"""``kevy-ring completion``: the script that completes commands, options and names of rings in a shell."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

#: The shell's script sets it and runs the command, which then prints completions and nothing else.
VARIABLE = "_KEVY_RING_COMPLETE"
_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> int:
    """Print the completion script of a shell. It completes commands, options, and names of rings.

    \b
    bash:  kevy-ring completion bash > ~/.local/share/bash-completion/completions/kevy-ring
    zsh:   kevy-ring completion zsh > a file _kevy-ring in a directory of $fpath
    fish:  kevy-ring completion fish > ~/.config/fish/completions/kevy-ring.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(click.get_current_context().find_root().command, {}, "kevy-ring", VARIABLE)
    # The method of the class for bash starts bash to ask for its version.
    click.echo(ShellComplete.source(script).strip())
    return 0


def ring_names_with(context: click.Context, parameter: click.Parameter, beginning: str) -> list[CompletionItem]:
    """The rings of this machine whose names begin so."""
    from kevy_ring.ring import ring_names

    return [CompletionItem(name) for name in sorted(ring_names()) if name.startswith(beginning)]
