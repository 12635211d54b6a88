//! The program `fab-agent`; all of it is in the library.

fn main() -> std::process::ExitCode {
    fab_agent::cli::main()
}
