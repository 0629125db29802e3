
# Of the line, not of COMP_WORDS, which are cut at colons and equals signs.
_wharf_named() {
    local line="${COMP_LINE:0:COMP_POINT}" typed words found head
    typed="${line##*[[:space:]]}"
    read -ra words <<< "${line%"$typed"}"
    mapfile -t found < <("${words[0]}" __names "${words[@]:1}" "$typed" 2> /dev/null)
    if [ ${#found[@]} -eq 0 ]; then
        _wharf "$@"
        return
    fi
    head="${typed%"${typed##*[:=]}"}"
    COMPREPLY=("${found[@]#"$head"}")
}
complete -o bashdefault -o default -F _wharf_named wharf
