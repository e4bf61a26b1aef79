"""Which learning rate does a range test suggest, and how well does it train?"""
