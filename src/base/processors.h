/* processors: the seam for a test: the system's files under another root than "/"; private to base. */
#ifndef BASE_PROCESSORS_H
#define BASE_PROCESSORS_H

/* Processors that the control groups of this process allow, by the files below `root`; 0: they set no limit. */
double processors_of_quota(const char *root);

#endif
