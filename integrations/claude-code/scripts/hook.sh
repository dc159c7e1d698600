#!/bin/sh
# Passes a hook of Claude Code on to dossierd. Whatever happens here, the agent goes on: an exit code of 2 would block it.
# Usage: hook.sh [--enforce]; the plugin sets CLAUDE_PLUGIN_OPTION_ENFORCE instead.

command -v dossierd >/dev/null 2>&1 || exit 0

case "${CLAUDE_PLUGIN_OPTION_ENFORCE:-${CLAUDE_PLUGIN_OPTION_enforce:-}}" in
    true | 1) set -- --enforce ;;
esac

# A version without the command prints nothing on standard output, and neither does one that fails.
dossierd agent-hook "$@" 2>/dev/null || :
exit 0
