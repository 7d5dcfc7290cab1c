use actogen::{Receiver, Select};

fn twice(receiver: Receiver<u8>) {
    let mut select = Select::new();
    select.add(receiver);
    select.add(receiver);
}

fn main() {}
