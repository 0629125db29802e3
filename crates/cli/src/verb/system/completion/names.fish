
complete -c wharf -a '(wharf __names (commandline -opc)[2..-1] (commandline -ct) 2> /dev/null)'
