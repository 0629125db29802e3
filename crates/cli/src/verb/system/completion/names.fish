
function __wharf_names
    set -l words (commandline -opc)
    set -l typed (commandline -ct)
    $words[1] __names $words[2..-1] "$typed" 2> /dev/null
end
# Files are not offered beside them.
complete -c wharf -n '__wharf_names | string length -q' -f -a '(__wharf_names)'
# Values of flags are asked for by flag: of what fish completes there, the flag is no part.
for flag in network net volumes-from link restart pull log-driver signal type
    complete -c wharf -l $flag -n '__wharf_names | string length -q' -x -a "(__wharf_names | string replace -r -- '^--$flag=' '')"
end
