//! WHERE SESSIONS LIVE: the embedded memory, or Redis in one of its forms.
