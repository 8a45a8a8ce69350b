"""The rules of money: pure functions of values, standard library only, no I/O, no clock."""
