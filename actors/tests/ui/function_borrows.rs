//! A function that is called from elsewhere and borrows its argument.

#[actogen::function]
fn greet(name: &str) -> String {
    format!("Hello, {name}")
}

fn main() {
    greet("you");
}
