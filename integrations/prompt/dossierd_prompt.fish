function dossierd_prompt --description 'Print the state of the project, unless it is in order'
    set -l dir $PWD
    while true
        set -l found no
        for name in .dossierd kitty-specs specs openspec .kiro .planning conductor _bmad-output docs/adr
            if test -d "$dir/$name"
                set found yes
                break
            end
        end
        test $found = yes; and break
        test "$dir" = /; and return 0
        set dir (dirname "$dir")
    end
    set -l line (timeout 0.5 dossierd status --short 2>/dev/null)
    contains -- $status 10 11 12 13 78; or return 0
    printf '[%s] ' "$line"
end
