/* SPDX-License-Identifier: MIT */
/* The tables of the journal, version 1: what knee-journal(5) describes. */
#include "journal.h"

/*
 * task is narrow, because a resume steps through all of it. progress has what changes with every
 * commit, all in one row: two pages less to write than by rows of run and of each stream.
 */
const char kn_journal_schema[] =
    /* A start of knee on this journal: what is known at its beginning, and its end. */
    "CREATE TABLE run ("
    " run INTEGER PRIMARY KEY,"
    " version TEXT NOT NULL," /* of knee */
    " host TEXT NOT NULL,"    /* its name */
    " pid INTEGER NOT NULL,"
    " boot TEXT NOT NULL,"            /* boot_id of the kernel; '': unknown */
    " directory TEXT NOT NULL,"       /* where it was started; '': unknown */
    " command TEXT NOT NULL,"         /* knee_journal_options.command: what a resume compares */
    " arguments TEXT NOT NULL,"       /* the command line, a JSON array of strings */
    " output_order INTEGER NOT NULL," /* enum knee_order */
    " resume INTEGER NOT NULL,"       /* enum knee_resume */
    " cores REAL NOT NULL,"
    " memory_bytes INTEGER NOT NULL," /* 0: unknown */
    " kernel TEXT NOT NULL,"
    " begin_ns INTEGER NOT NULL," /* since the Epoch, as all other times but lengths */
    " end_ns INTEGER,"            /* NULL: it runs, or was killed */
    " status INTEGER,"            /* exit status; NULL as end_ns */
    " inputs INTEGER);"           /* how many there are; NULL: it did not come to their end */
    /* Of each run, as of the latest commit. */
    "CREATE TABLE progress ("
    " run INTEGER PRIMARY KEY,"
    " tasks INTEGER NOT NULL,"      /* rows of task, of all runs so far */
    " succeeded INTEGER NOT NULL,"  /* of those: state 1 */
    " failed INTEGER NOT NULL,"     /* of those: state 2; the rest were in flight or are */
    " attempts INTEGER NOT NULL,"   /* from here on of this run: attempts that ended */
    " retried INTEGER NOT NULL,"    /* of those: another one followed */
    " cancelled INTEGER NOT NULL,"  /* of those: outcome 3 */
    " runtime_ns INTEGER NOT NULL," /* sums over them */
    " user_ns INTEGER NOT NULL,"
    " system_ns INTEGER NOT NULL,"
    " rss_bytes INTEGER NOT NULL," /* the most of all of them */
    " read_bytes INTEGER NOT NULL,"
    " written_bytes INTEGER NOT NULL,"
    " output_bytes INTEGER NOT NULL,"
    " out_device INTEGER, out_inode INTEGER," /* stdout when it is a regular file, else NULL */
    " out_born_ns INTEGER,"                   /* when it was made; NULL: unknown */
    " out_path TEXT,"                         /* its name; '': none */
    " out_begin INTEGER,"                     /* its size when the run began, after the cut */
    " out_written INTEGER,"                   /* up to here it holds the output of printed tasks */
    " out_tail INTEGER,"                      /* digest of up to 4096 bytes before out_written */
    " out_ended INTEGER,"                     /* its size when the run ended in good order */
    " err_device INTEGER, err_inode INTEGER," /* stderr, the same; NULL when it is out's file */
    " err_born_ns INTEGER, err_begin INTEGER, err_written INTEGER, err_tail INTEGER, err_ended INTEGER,"
    " err_open INTEGER);" /* 1: behind err_written may be output of an unfinished task */
    /* Every input of which something was started. */
    "CREATE TABLE task ("
    " seq INTEGER PRIMARY KEY,"
    " digest INTEGER NOT NULL,"   /* FNV-1a 64 over its arguments, each with its NUL */
    " state INTEGER NOT NULL,"    /* 0: started, 1: succeeded, 2: failed */
    " attempts INTEGER NOT NULL," /* over all runs */
    " printed INTEGER NOT NULL);" /* 1: its output is where it belongs */
    /* Every attempt; outcome NULL: it runs, or did when knee was killed. */
    "CREATE TABLE attempt ("
    " seq INTEGER NOT NULL,"
    " attempt INTEGER NOT NULL," /* 1, 2, ... over all runs */
    " run INTEGER NOT NULL,"
    " host TEXT NOT NULL,"
    " slot INTEGER NOT NULL,"
    " start_ns INTEGER NOT NULL,"
    " runtime_ns INTEGER,"
    " outcome INTEGER," /* enum knee_outcome */
    " status INTEGER,"  /* exit code or signal */
    " user_ns INTEGER, system_ns INTEGER,"
    " rss_bytes INTEGER,"                         /* of its largest process */
    " io_bytes INTEGER,"                          /* by read(2) and write(2); 0: unknown */
    " read_bytes INTEGER, written_bytes INTEGER," /* from and to disks */
    " waits INTEGER, switches INTEGER,"           /* context switches: it waited; it was made to */
    " delay_ns INTEGER,"                          /* ready to run, waiting for a core; 0: unknown */
    " output_bytes INTEGER,"                      /* what it printed */
    " out_at INTEGER, out_bytes INTEGER,"         /* where that lies in stdout's file; NULL: in none */
    " err_at INTEGER, err_bytes INTEGER,"
    " command TEXT NOT NULL,"
    " PRIMARY KEY (seq, attempt)) WITHOUT ROWID;"
    /* The output of finished tasks that was not printed yet, in pieces. */
    "CREATE TABLE output ("
    " seq INTEGER NOT NULL,"
    " n INTEGER NOT NULL,"      /* 0, 1, ... */
    " stream INTEGER NOT NULL," /* 1: stdout, 2: stderr */
    " data BLOB NOT NULL,"
    " PRIMARY KEY (seq, n)) WITHOUT ROWID;"
    /* What finished tasks have for the whole, which a plugin puts together in the end. */
    "CREATE TABLE part ("
    " seq INTEGER PRIMARY KEY,"
    " data BLOB NOT NULL);"
    /* Every change of a number at once, and why it stays. */
    "CREATE TABLE step ("
    " run INTEGER NOT NULL,"
    " at_ns INTEGER NOT NULL,"
    " work TEXT NOT NULL,"       /* the programs whose number it is */
    " resource TEXT NOT NULL,"   /* the disk or host; '': none */
    " kind TEXT NOT NULL,"       /* what bounds them: knee_kind_name() */
    " at_once INTEGER NOT NULL," /* from now on */
    " running INTEGER NOT NULL,"
    " done INTEGER NOT NULL," /* of that work, in this run */
    " cpu_busy REAL,"         /* of all cores, by anyone; NULL: unknown */
    " busy REAL,"             /* of what bounds it; NULL: unknown */
    " throughput REAL,"       /* of the best number's; NULL: not measured */
    " reason TEXT NOT NULL);"
    /* Once a second. */
    "CREATE TABLE sample ("
    " run INTEGER NOT NULL,"
    " at_ns INTEGER NOT NULL,"
    " running INTEGER NOT NULL,"
    " at_once INTEGER NOT NULL,"
    " done INTEGER NOT NULL," /* in this run, with those that were finished before */
    " failed INTEGER NOT NULL,"
    " cpu_busy REAL);"; /* NULL: unknown */
