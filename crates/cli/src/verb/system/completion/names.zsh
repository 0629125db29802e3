
_wharf_named() {
    local -a found
    found=("${(@f)$("${words[1]}" __names "${(@)words[2,CURRENT-1]}" "$PREFIX" 2> /dev/null)}")
    found=(${found:#})
    if (( ${#found} )); then
        compadd -a found
    else
        _wharf "$@"
    fi
}
(( ${+functions[compdef]} )) && compdef _wharf_named wharf
