//! The command `distill`.

use std::process::ExitCode;

/// The system's allocator returns memory after every tensor; the page faults cost a small network most of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many threads candle's products use; seeds run in parallel instead, and commands that train nothing take all cores.
const THREADS: &str = "RAYON_NUM_THREADS";

/// Whether errors carry backtraces: candle's would become a part of their message. Panics still heed RUST_BACKTRACE.
const BACKTRACES: &str = "RUST_LIB_BACKTRACE";

fn main() -> ExitCode {
    let is_open = std::env::var_os(THREADS).is_none();
    set(BACKTRACES, "0");
    if is_open {
        set(THREADS, "1");
    }
    cli::main(is_open)
}

/// Sets a variable of the environment, before there is a second thread.
fn set(name: &str, value: &str) {
    #[expect(
        unsafe_code,
        reason = "setting a variable of the environment is unsafe in this edition"
    )]
    // SAFETY: no other thread exists yet.
    unsafe {
        std::env::set_var(name, value);
    }
}
