"""Maps and boxes that other tools made: folders of maps, tables of boxes, prediction files."""
