//! `main` gets its context as its parameter.
#[actogen::main]
async fn main() {}
