"""Variants x seeds x data sets → one table that anyone can make again, with intervals and paired differences."""
