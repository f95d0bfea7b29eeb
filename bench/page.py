"""Tables that the scripts beside this file put into pages of docs/."""
import sys


def put(page, script, text):
    """Replaces what stands between `<!-- table: SCRIPT -->` and `<!-- end of table -->` in a page; "-" prints the text instead."""
    if page == "-":
        sys.stdout.write(text)
        return
    begin, end = f"<!-- table: {script} -->\n", "<!-- end of table -->\n"
    with open(page) as f:
        head, rest = f.read().split(begin, 1)
    with open(page, "w") as f:
        f.write(head + begin + text + end + rest.split(end, 1)[1])
