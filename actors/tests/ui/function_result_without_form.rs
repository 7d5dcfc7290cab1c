//! A function whose value cannot travel.

struct Secret;

#[actogen::function]
fn secret() -> Secret {
    Secret
}

fn main() {}
