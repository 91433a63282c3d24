# Sourced: sets the positional parameters to the compiler flags that the file "$flags" holds, one a line.
set --
while IFS= read -r flag; do
    case $flag in
    '') ;;
    -fopenmp=*) set -- "$@" -fopenmp ;; # the same words for g++ and clang++
    *) set -- "$@" "$flag" ;;
    esac
done <"$flags"
