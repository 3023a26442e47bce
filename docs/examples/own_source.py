"""Images of your own: here from a database, where each is a file with the name of its class."""

import sqlite3

import kantor


class Album:
    def __init__(self, path):
        self.database = sqlite3.connect(path)
        self.keys = [key for (key,) in self.database.execute("SELECT rowid FROM images ORDER BY rowid")]

    def __len__(self):
        return len(self.keys)

    def __getitem__(self, i):  # bytes of a file, a Pillow image or an array; alone, or with its class
        query = "SELECT file, class FROM images WHERE rowid = ?"
        return self.database.execute(query, [self.keys[i]]).fetchone()


if __name__ == "__main__":
    kantor.source("album", Album("album.db"))
    run = kantor.train("python:album", time_budget="1m", conditional=True)
