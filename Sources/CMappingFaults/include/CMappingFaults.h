// What happens when a mapped file has lost pages: a process that touches one gets the signal SIGBUS, and ends unless
// somebody handles it. Here pages of zeros take their place, and the mapping is marked as lost.

#ifndef CMAPPINGFAULTS_H
#define CMAPPINGFAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// A mapping that is watched.
typedef struct sp_mapping sp_mapping;

/// Whether faults in watched mappings are handled, which takes a signal handler for SIGBUS. The one that was there before
/// gets all other faults. Off in the beginning. Safe from any thread.
void sp_mapping_faults_handle(bool on);

/// Watches a mapping until `sp_mapping_forget`. Safe from any thread.
/// - path: is copied.
/// - Returns: NULL when there is no memory for it.
sp_mapping *sp_mapping_watch(const void *address, size_t byte_count, const char *path);

/// Ends the watch, before the mapping is removed.
void sp_mapping_forget(sp_mapping *mapping);

/// Whether all bytes of the file were there when they were read, as far as reads came before this call.
bool sp_mapping_is_whole(sp_mapping *mapping);

/// The path of the first mapping of the process that was found to be lost; NULL when none was.
const char *sp_mapping_first_lost(void);

#endif
