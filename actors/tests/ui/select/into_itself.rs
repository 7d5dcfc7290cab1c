use actogen::Select;

fn round(mut outer: Select<u8>) {
    outer.add_select(outer);
}

fn main() {}
