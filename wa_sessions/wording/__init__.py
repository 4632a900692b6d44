"""Words for people, pure: what the policy has decided, said in sentences. Another language is one more table each."""
