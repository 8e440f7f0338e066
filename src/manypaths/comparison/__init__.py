"""`manypaths compare`: runs beside a baseline, in words, tables, pictures and a page. Nothing here needs torch."""
