# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Completion of knee for bash. Made by tools/completions.py from the text of knee --help.

_knee()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} i=1
	local takes=' -a --arg-file -d --delimiter -C --colsep --header --trim -E --arg-sep --arg-file-sep -I --parens --worker --framing --plugin -n --max-args -N --max-replace-args -L -s --max-chars -j -P --jobs --kind --busy-exit --load --memfree --memsuspend --limit --delay --nice --process-slot-var --tagstring --tmpdir --halt --retries --timeout --term-seq --journal --output --joblog --results -S --sshlogin --slf --sshloginfile --on --ssh --env --wd --workdir --transferfile --return --trc --basefile --bf --host-timeout ' equals=

	# The shell cuts --trim=l into three words.
	if [ "$cur" = = ]; then
		cur='' equals=yes
	elif [ "$prev" = = ]; then
		prev=${COMP_WORDS[COMP_CWORD-2]}
	fi
	if [ "${COMP_WORDS[1]}" = hosts ] && [ "$COMP_CWORD" -gt 1 ]; then
		if [ "$prev" = --slf ] || [ "$prev" = --sshloginfile ]; then
			mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames
		elif [[ $cur == -* ]]; then
			mapfile -t COMPREPLY < <(compgen -W '--sort --json --csv --watch --interval --timeout --no-fold -j --jobs -S --sshlogin --slf --sshloginfile --ssh -h --help' -- "$cur")
		else
			mapfile -t COMPREPLY < <(compgen -A hostname -- "$cur")
		fi
		return
	fi
	# Where the options end the command begins: its name, then names of files.
	if [ "${COMP_WORDS[1]}" = run ] && [ "$COMP_CWORD" -gt 1 ]; then
		i=2
	fi
	while [ "$i" -lt "$COMP_CWORD" ]; do
		case ${COMP_WORDS[i]} in
		-*)	;;
		=)	i=$((i + 2))
			continue ;;
		*)	mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			compopt -o filenames
			return ;;
		esac
		if [[ $takes == *" ${COMP_WORDS[i]} "* && ${COMP_WORDS[i+1]} != = ]]; then
			i=$((i + 1))
		fi
		i=$((i + 1))
	done
	COMPREPLY=()
	if [ "$i" -gt "$COMP_CWORD" ] || [ "$equals" ]; then
		case $prev in
		-a|--arg-file)
			mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames ;;
		--header)
			mapfile -t COMPREPLY < <(compgen -W ':' -- "$cur") ;;
		--trim)
			mapfile -t COMPREPLY < <(compgen -W 'n l r lr' -- "$cur") ;;
		--framing)
			mapfile -t COMPREPLY < <(compgen -W 'line nul length' -- "$cur") ;;
		--plugin)
			mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames ;;
		--kind)
			mapfile -t COMPREPLY < <(compgen -W 'cpu disk net wait' -- "$cur") ;;
		--color)
			mapfile -t COMPREPLY < <(compgen -W 'always auto never' -- "$cur") ;;
		--tmpdir)
			mapfile -t COMPREPLY < <(compgen -d -- "$cur"); compopt -o filenames ;;
		--halt)
			mapfile -t COMPREPLY < <(compgen -W 'never now,fail=1 soon,fail=1 now,success=1 soon,done=50%' -- "$cur") ;;
		--term-seq)
			mapfile -t COMPREPLY < <(compgen -W 'TERM,200,TERM,100,TERM,50,KILL INT,1000,TERM,1000,KILL' -- "$cur") ;;
		--journal)
			mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames ;;
		--output)
			mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames ;;
		--joblog)
			mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames ;;
		-S|--sshlogin)
			mapfile -t COMPREPLY < <(compgen -A hostname -- "$cur") ;;
		--slf|--sshloginfile)
			mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames ;;
		--on)
			mapfile -t COMPREPLY < <(compgen -W 'slurm slurm:' -- "$cur") ;;
		--wd|--workdir)
			mapfile -t COMPREPLY < <(compgen -d -- "$cur"); compopt -o filenames ;;
		esac
	elif [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W '-a --arg-file -0 --null -d --delimiter -C --colsep --header --skip-first-line --trim -E -e --eof -r --no-run-if-empty --link --xapply --arg-sep --arg-file-sep --shuf -I -i --replace --parens -q --quote --shellquote --dry-run -v -t --verbose -p --interactive --worker --framing --plugin --isolate -n --max-args -N --max-replace-args -L -l --max-lines -s --max-chars -x --exit -m -X --xargs --show-limits -j -P --jobs --kind --busy-exit --load --memfree --memsuspend --noswap --limit --explain --no-memory --delay --nice --process-slot-var -k --keep-order --unordered --group -u --ungroup --lb --line-buffer --tag --tagstring --files --color --no-color --tmpdir --progress --bar --eta --no-progress --silent --halt --retries --timeout --term-seq --journal --sync --resume --resume-failed --retry-failed --output --joblog --results --json -S --sshlogin --slf --sshloginfile --on --onall --nonall --ssh --env --wd --workdir --transferfile --transfer --return --cleanup --trc --basefile --bf --host-timeout --speculate --filter-hosts -h --help -V --version --citation --gnu --will-cite' -- "$cur")
	else
		mapfile -t COMPREPLY < <(compgen -c -- "$cur")
	fi
}
complete -F _knee knee
