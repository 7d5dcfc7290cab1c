//! The command line.

use std::num::NonZero;

use clap::Parser;

use super::hop::Way;

/// Runs a command on many hosts at once, each in a context of one tree.
///
/// A host is a way to it, outermost first: `local`, `ssh:HOST`, `ssh:a@gate:2222/sudo:root/docker:web`. Hosts whose ways begin alike go by the
/// same contexts. The command's output comes with its host in front; behind it a table says how each host fared.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "fleet",
    version,
    after_help = "Example:\n  fleet --on local --on ssh:db1 --on ssh:db1/sudo:root --tree -- uname -a\n\nExit status: 0 when the command succeeded everywhere, 1 when not, 2 when fleet was misused."
)]
pub struct Arguments {
    /// A host: a method with its target behind a colon, and a slash before each further hop
    #[arg(long, value_name = "WAY", required = true)]
    pub on: Vec<Way>,
    /// Show the tree of contexts
    #[arg(long)]
    pub tree: bool,
    /// Print a line of JSON for each host, and the command's output on standard error
    #[arg(long)]
    pub json: bool,
    /// How many contexts are launched at once
    #[arg(long, value_name = "N", default_value = "8")]
    pub at_once: NonZero<u16>,
    /// One more argument for every ssh on the ways
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    pub ssh_argument: Vec<String>,
    /// The command, and its arguments
    #[arg(value_name = "COMMAND", required = true, last = true)]
    pub command: Vec<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
        let line = "fleet --on local --on ssh:h/sudo:root --ssh-argument -v --tree -- echo --on";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        assert_eq!((arguments.on.len(), arguments.tree), (2, true));
        assert_eq!(arguments.command, ["echo", "--on"]);
    }

    #[test]
    fn misuse_is_refused_with_code_2() {
        for line in ["fleet", "fleet --on local", "fleet -- true", "fleet --on rsh:x -- true"] {
            let error = Arguments::try_parse_from(line.split(' ')).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
