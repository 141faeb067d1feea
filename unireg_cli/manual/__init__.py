"""The pages of the manual that repeat the commands' own help: Markdown for the site, roff for man."""
