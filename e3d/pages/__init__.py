"""Pages to look at: one file of HTML for a run or a comparison, which needs nothing from elsewhere.

    sprites   sequences as pictures of 8 bits, which the page colors, subtracts and plays
    content   what a page tells of a run; what is read back of a page
    groups    runs that differ only by their seeds
    charts    curves as SVG
    curves    which of them a page has
    parts     tables, matrices, color bars, the player
    document  the page
    writing   `write_page`, `write_comparison`

`page.html`, `page.css` and `page.js` are what every page has in common.
"""
