"""Write the reference pages that code already knows; one file is one kind of page."""
