/* profiles/data/tables.h: the shipped tables as lines of CSV; the first line names the columns, NULL ends. No field holds a comma. */
#ifndef WT_PROFILES_DATA_TABLES_H
#define WT_PROFILES_DATA_TABLES_H

extern const char *const wt_table_carbon_intensity[];
extern const char *const wt_table_electricity_price[];
extern const char *const wt_table_cpu_tdp[];

#endif
